"""Recovery, on both databases: dead letters put back or given up."""

from __future__ import annotations

from uuid import UUID

import pytest

from messaging.api import Envelope, HandlerContext, Outgoing, SequenceTracker, TerminalError
from messaging.core.errors import ReplayError
from messaging.models import DeadLetter, Delivery, ProcessedMessage, Workflow
from messaging.workflows import life_cycle
from tests.support.lab import Lab


class Moody:
    """A handler that refuses some sequence numbers, until it is told otherwise."""

    def __init__(self, *refused: int) -> None:
        self.refused = set(refused)

    def __call__(self, message: Envelope, context: HandlerContext) -> None:
        if message.sequence_number in self.refused:
            raise TerminalError("not this one")


def burst(lab: Lab, workflow: UUID, count: int) -> None:
    one = Outgoing(workflow_id=workflow, source="web", recipient="a", type="test.message", data=None)
    lab.bus.send_many([one] * count)


def open_letters() -> list[int]:
    return list(DeadLetter.objects.filter(status="open").order_by("pk").values_list("pk", flat=True))


def test_a_replayed_message_is_handled_in_its_place(lab: Lab) -> None:
    moody = Moody(2)
    lab.agent("a", moody)
    workflow = lab.workflow()
    burst(lab, workflow, 4)
    lab.settle()
    assert Workflow.objects.get(pk=workflow).status == "parked"
    moody.refused.clear()
    lab.replay(open_letters()[0])
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1, 2, 3, 4]
    assert Workflow.objects.get(pk=workflow).status == "running"
    assert Delivery.objects.get(message__sequence=2).attempts == 0
    assert SequenceTracker(workflow).missing() == {}


def test_a_replay_that_fails_again_is_a_new_dead_letter(lab: Lab) -> None:
    lab.agent("a", Moody(1))
    workflow = lab.workflow()
    burst(lab, workflow, 2)
    lab.settle()
    lab.replay(open_letters()[0])
    lab.settle()
    assert len(open_letters()) == 1
    assert DeadLetter.objects.filter(status="replayed").count() == 1
    assert Workflow.objects.get(pk=workflow).status == "parked"


def test_a_processed_row_does_not_swallow_a_replay(lab: Lab) -> None:
    moody = Moody(1)
    lab.agent("a", moody)
    workflow = lab.workflow()
    burst(lab, workflow, 1)
    lab.settle()
    letter = DeadLetter.objects.get()
    assert letter.delivery is not None
    row = ProcessedMessage(message_id=letter.delivery.message_id, consumer="a", expires_at=letter.created_at)
    row.expires_at = row.expires_at.replace(year=row.expires_at.year + 1)
    row.save()
    moody.refused.clear()
    lab.replay(letter.pk)
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1]


def test_a_double_click_replays_once(lab: Lab) -> None:
    moody = Moody(1)
    lab.agent("a", moody)
    workflow = lab.workflow()
    burst(lab, workflow, 1)
    lab.settle()
    (letter,) = open_letters()
    moody.refused.clear()
    lab.replay(letter)
    with pytest.raises(ReplayError, match="replayed"):
        lab.replay(letter)
    with pytest.raises(ReplayError, match="replayed"):
        lab.discard(letter)
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1]


def test_a_discarded_message_is_left_out(lab: Lab) -> None:
    lab.agent("a", Moody(2))
    workflow = lab.workflow()
    burst(lab, workflow, 4)
    lab.settle()
    lab.discard(open_letters()[0])
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1, 3, 4]
    assert open_letters() == []
    assert Workflow.objects.get(pk=workflow).status == "running"


@pytest.mark.parametrize(
    "order", [(0, 1, 2), (2, 1, 0), *(pytest.param(order, marks=pytest.mark.whole) for order in [(1, 0, 2), (1, 2, 0)])]
)
@pytest.mark.parametrize("actions", ["rrr", "ddd", "rdr", "drd", "ddr", "rrd"])
def test_several_dead_letters_in_any_order(lab: Lab, order: tuple[int, ...], actions: str) -> None:
    """Three agents of one workflow have one dead letter each, and each mailbox has a message behind it."""
    moody = Moody(1, 2, 3)
    for name in ("a", "b", "c"):
        lab.agent(name, moody)
    workflow = lab.workflow()
    for name in "abcabc":
        lab.send(workflow, name)
    lab.publish()
    lab.work()
    while len(open_letters()) < 3:  # parked by the first
        life_cycle.go_on(workflow)
        lab.relay_turn(after=1)
        lab.work()
    letters = open_letters()
    moody.refused.clear()
    for index in order:
        (lab.replay if actions[index] == "r" else lab.discard)(letters[index])
        lab.relay_turn(after=1)
        lab.work(2)
    lab.settle()
    for index, letter in enumerate(letters):
        agent = DeadLetter.objects.get(pk=letter).agent
        first = "abc".index(agent) + 1
        expected = [first, first + 3] if actions[index] == "r" else [first + 3]
        assert lab.ledger.handled(workflow, agent) == expected


@pytest.mark.parametrize("replayed_first", [0, 1])
def test_under_the_skip_policy_replays_come_late_and_once(lab: Lab, replayed_first: int) -> None:
    moody = Moody(2, 3)
    lab.agent("a", moody)
    workflow = lab.workflow(failure_policy="skip")
    burst(lab, workflow, 5)
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1, 4, 5]
    moody.refused.clear()
    letters = open_letters()
    lab.replay(letters[replayed_first])
    lab.settle()
    burst(lab, workflow, 1)
    lab.replay(letters[1 - replayed_first])
    lab.settle()
    assert sorted(lab.ledger.handled(workflow, "a")) == [1, 2, 3, 4, 5, 6]
    assert lab.ledger.doubles() == []
    assert SequenceTracker(workflow).pending() == {"a": 0}


def test_replayed_while_paused_waits(lab: Lab) -> None:
    moody = Moody(1)
    lab.agent("a", moody)
    workflow = lab.workflow(failure_policy="skip")
    burst(lab, workflow, 2)
    lab.settle()
    moody.refused.clear()
    lab.bus.pause_workflow(workflow)
    lab.replay(open_letters()[0])
    for _ in range(3):
        lab.relay_turn(after=20)
        lab.work()
    assert lab.ledger.handled(workflow, "a") == [2]
    lab.bus.resume_workflow(workflow)
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [2, 1]


def test_nothing_is_replayed_in_an_ended_workflow(lab: Lab) -> None:
    lab.agent("a", Moody(1))
    workflow = lab.workflow()
    burst(lab, workflow, 2)
    lab.settle()
    lab.bus.cancel_workflow(workflow)
    with pytest.raises(ReplayError, match="cancelled"):
        lab.replay(open_letters()[0])
    lab.discard(open_letters()[0])
    assert open_letters() == []


def test_a_dead_letter_without_a_delivery_can_only_be_discarded(lab: Lab) -> None:
    lab.store_dead_letter(lab.received(b"garbage", {}, ""))
    (letter,) = open_letters()
    with pytest.raises(ReplayError, match="nothing to put"):
        lab.replay(letter)
    lab.discard(letter)
    assert open_letters() == []
    with pytest.raises(ReplayError):
        lab.discard(letter)


def test_a_late_duplicate_of_a_dead_message_is_not_handled(lab: Lab) -> None:
    moody = Moody(1)
    lab.agent("a", moody)
    workflow = lab.workflow()
    burst(lab, workflow, 1)
    copies = lab.take_offered()
    lab.put(copies)
    lab.work()
    moody.refused.clear()
    lab.put(copies)
    lab.work()
    assert lab.ledger.handled(workflow, "a") == []
    assert len(open_letters()) == 1
