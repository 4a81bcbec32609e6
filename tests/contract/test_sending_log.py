"""Sending, on both databases: what a send leaves in the log."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from django.db import transaction

from messaging.api import (
    EnvelopeError,
    MailboxFull,
    Outgoing,
    SequenceTracker,
    UnknownAgent,
    UnknownWorkflow,
    WorkflowClosed,
    WorkflowLimit,
)
from messaging.models import Delivery, Mailbox, Message, Workflow
from tests.support.lab import Lab


def sequences(workflow: UUID) -> list[int]:
    return list(Message.objects.filter(workflow=workflow).order_by("sequence").values_list("sequence", flat=True))


def positions(workflow: UUID, agent: str) -> list[int]:
    found = Delivery.objects.filter(workflow=workflow, agent=agent)
    return list(found.order_by("position").values_list("position", flat=True))


def outgoing(workflow: UUID, recipient: str, **options: object) -> Outgoing:
    values = {"source": "web", "type": "test.message", "data": None, **options}
    return Outgoing(workflow_id=workflow, recipient=recipient, **values)  # type: ignore[arg-type]


def assert_mailboxes_agree(workflow: UUID) -> None:
    """The counter ``sent`` of each mailbox is its highest position, and the positions have no holes."""
    for mailbox in Mailbox.objects.filter(workflow=workflow):
        assert positions(workflow, mailbox.agent) == list(range(1, mailbox.sent + 1))


def test_numbers_have_no_holes_over_single_and_bulk_sends(lab: Lab) -> None:
    lab.agent("a")
    lab.agent("b")
    first, second = lab.workflow(), lab.workflow()
    lab.send(first, "a")
    lab.bus.send_many([outgoing(first, "b"), outgoing(second, "a"), outgoing(first, "a"), outgoing(second, "b")])
    lab.send(second, "b")
    assert sequences(first) == sequences(second) == [1, 2, 3]
    for workflow in (first, second):
        assert_mailboxes_agree(workflow)
        assert SequenceTracker(workflow).next_number() == 4


def test_a_rolled_back_send_leaves_nothing_and_no_hole(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    lab.send(workflow, "a")
    with transaction.atomic():
        lab.send(workflow, "a", deduplication_id="once")
        transaction.set_rollback(True)
    assert len(lab.take_offered()) == 1
    again = lab.bus.send(workflow, "a", "test.message", sender="web", deduplication_id="once")
    assert (again.sequence, again.duplicate) == (2, False)
    assert_mailboxes_agree(workflow)


def test_a_savepoint_rolled_back_leaves_no_hole(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    with transaction.atomic():
        lab.send(workflow, "a")
        with transaction.atomic():
            lab.send(workflow, "a")
            transaction.set_rollback(True)
        lab.send(workflow, "a")
    assert sequences(workflow) == [1, 2]
    assert len(lab.take_offered()) == 2
    assert_mailboxes_agree(workflow)


def test_publishing_waits_for_the_outermost_commit(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    with transaction.atomic():
        with transaction.atomic():
            lab.send(workflow, "a")
        assert lab.take_offered() == []
    assert len(lab.take_offered()) == 1


def test_a_group_message_has_one_delivery_for_each_member_but_its_sender(lab: Lab) -> None:
    for name in ("a", "b", "c"):
        lab.agent(name)
    lab.bus.create_group("team", ["a", "b", "c"])
    workflow = lab.workflow()
    sent = lab.bus.send(workflow, "team", "test.message", sender="b")
    assert list(Delivery.objects.filter(message=sent.id).order_by("id").values_list("agent", flat=True)) == ["a", "c"]
    assert sequences(workflow) == [1]
    lab.bus.remove_member("team", "c")
    sent = lab.bus.send(workflow, "team", "test.message", sender="web")
    assert list(Delivery.objects.filter(message=sent.id).order_by("id").values_list("agent", flat=True)) == ["a", "b"]
    assert_mailboxes_agree(workflow)


def test_a_group_without_other_members_gets_no_delivery(lab: Lab) -> None:
    lab.agent("a")
    lab.bus.create_group("alone", ["a"])
    workflow = lab.workflow()
    lab.bus.send(workflow, "alone", "test.message", sender="a")
    assert sequences(workflow) == [1]
    assert positions(workflow, "a") == []


def test_a_deduplication_id_returns_the_first_message(lab: Lab) -> None:
    lab.agent("a")
    workflow, other = lab.workflow(), lab.workflow()
    first = lab.bus.send(workflow, "a", "test.message", sender="web", deduplication_id="k")
    again = lab.bus.send(workflow, "a", "test.message", sender="web", deduplication_id="k")
    assert (again.id, again.sequence, again.duplicate) == (first.id, 1, True)
    elsewhere = lab.bus.send(other, "a", "test.message", sender="web", deduplication_id="k")
    by_another = lab.bus.send(workflow, "a", "test.message", sender="a", deduplication_id="k")
    assert not elsewhere.duplicate
    assert not by_another.duplicate
    assert_mailboxes_agree(workflow)


def test_a_deduplication_id_twice_in_one_burst_leaves_no_hole(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    burst = [outgoing(workflow, "a", deduplication_id=key) for key in ("k", "k", "m", "k")]
    receipts = lab.bus.send_many(burst)
    assert [(receipt.sequence, receipt.duplicate) for receipt in receipts] == [
        (1, False),
        (1, True),
        (2, False),
        (1, True),
    ]
    lab.send(workflow, "a")
    assert_mailboxes_agree(workflow)
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1, 2, 3]


def test_copies_in_a_burst_do_not_count_towards_the_limit(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow(max_messages=1)
    receipts = lab.bus.send_many([outgoing(workflow, "a", deduplication_id="k")] * 3)
    assert [receipt.sequence for receipt in receipts] == [1, 1, 1]


def test_a_duplicate_is_answered_even_where_nothing_more_may_be_sent(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    first = lab.bus.send(workflow, "a", "test.message", sender="web", deduplication_id="k")
    lab.bus.cancel_workflow(workflow)
    assert lab.bus.send(workflow, "a", "test.message", sender="web", deduplication_id="k").id == first.id


def test_a_workflow_takes_no_more_than_its_limit(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow(max_messages=2)
    lab.send(workflow, "a")
    with pytest.raises(WorkflowLimit):
        lab.bus.send_many([outgoing(workflow, "a")] * 2)
    lab.send(workflow, "a")
    with pytest.raises(WorkflowLimit):
        lab.send(workflow, "a")
    assert sequences(workflow) == [1, 2]
    assert_mailboxes_agree(workflow)


def test_a_full_mailbox_refuses_and_recovers(lab: Lab) -> None:
    lab.configure(max_backlog_per_mailbox=3)
    lab.agent("a")
    workflow = lab.workflow()
    lab.bus.send_many([outgoing(workflow, "a")] * 3)
    with pytest.raises(MailboxFull):
        lab.send(workflow, "a")
    lab.settle()
    lab.send(workflow, "a")
    assert sequences(workflow) == [1, 2, 3, 4]
    assert_mailboxes_agree(workflow)


@pytest.mark.parametrize("end", ["cancel_workflow", "complete_workflow"])
def test_an_ended_workflow_takes_nothing(lab: Lab, end: str) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    getattr(lab.bus, end)(workflow)
    with pytest.raises(WorkflowClosed):
        lab.send(workflow, "a")


def test_unknown_recipients_and_workflows_are_refused(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    with pytest.raises(UnknownAgent, match="nobody"):
        lab.send(workflow, "nobody")
    with pytest.raises(UnknownWorkflow):
        lab.send(uuid4(), "a")
    with pytest.raises(UnknownAgent):
        lab.bus.send_many([outgoing(workflow, "a"), outgoing(workflow, "nobody")])
    assert sequences(workflow) == []
    assert lab.take_offered() == []


@pytest.mark.parametrize("data", ["x" * 300_000, float("nan"), {1: 2}, object(), "\ud800"])
def test_data_that_is_no_part_of_an_envelope_is_refused(lab: Lab, data: object) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    with pytest.raises(EnvelopeError):
        lab.bus.send_many([outgoing(workflow, "a"), outgoing(workflow, "a", data=data)])
    lab.send(workflow, "a")
    assert sequences(workflow) == [1]
    assert_mailboxes_agree(workflow)


def test_a_message_to_a_program_is_done_at_once(lab: Lab) -> None:
    workflow = lab.workflow()
    message = lab.send(workflow, "web")
    assert lab.state_of(message) == "processed"
    assert lab.take_offered() == []
    assert SequenceTracker(workflow).pending() == {"web": 0}


def test_an_agent_that_was_a_program_before_is_not_stuck(lab: Lab) -> None:
    lab.bus.register_agent("late")
    workflow = lab.workflow()
    lab.send(workflow, "late")
    lab.agent("late")
    lab.send(workflow, "late")
    lab.settle()
    assert lab.ledger.handled(workflow, "late") == [2]


def test_a_program_that_was_an_agent_before_is_not_stuck(lab: Lab) -> None:
    lab.agent("early")
    workflow = lab.workflow()
    lab.send(workflow, "early")
    lab.send(workflow, "early")
    handler = lab.spec("early")
    lab.unregister("early")
    lab.bus.register_agent("early")
    lab.send(workflow, "early")
    assert handler is not None
    lab.agent("early", handler.handler)
    lab.send(workflow, "early")
    lab.settle()
    assert set(lab.states(workflow)) == {"processed"}


def test_starting_a_workflow_twice_with_a_deduplication_id_starts_one(lab: Lab) -> None:
    first = lab.bus.start_workflow("job", deduplication_id="job-1")
    assert lab.bus.start_workflow("job", deduplication_id="job-1") == first
    assert Workflow.objects.count() == 1
