"""Receiving, on both databases: each delivery once, in the order of its mailbox."""

from __future__ import annotations

import random
from uuid import UUID

import pytest
from django.db import connection, transaction

from messaging.api import Envelope, HandlerContext, Outgoing, SequenceTracker
from messaging.core.outcome import Outcome
from messaging.models import Delivery, Mailbox, Message
from tests.support.lab import Lab


def burst(lab: Lab, workflow: UUID, count: int, recipient: str = "a") -> None:
    lab.bus.send_many(
        [
            Outgoing(workflow_id=workflow, source="web", recipient=recipient, type="test.message", data=number)
            for number in range(count)
        ]
    )


def test_a_burst_is_handled_once_and_in_order(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    burst(lab, workflow, 30)
    lab.publish()
    assert lab.work()[Outcome.PROCESSED] == 30
    assert lab.ledger.handled(workflow, "a") == list(range(1, 31))
    assert lab.all_processed(workflow)


@pytest.mark.parametrize("seed", range(3))
def test_a_shuffled_and_doubled_burst_is_handled_once_and_in_order(lab: Lab, seed: int) -> None:
    lab.configure(batch_size=7)
    lab.restart_consumer()
    lab.agent("a")
    workflows = [lab.workflow() for _ in range(3)]
    for workflow in workflows:
        burst(lab, workflow, 20)
    copies = lab.take_offered() * 2
    random.Random(seed).shuffle(copies)
    lab.put(copies)
    lab.settle()
    for workflow in workflows:
        assert lab.ledger.handled(workflow, "a") == list(range(1, 21))
    assert lab.ledger.doubles() == []
    assert len(lab.ledger.attempts) == 60


def test_what_comes_early_is_held_until_its_predecessor_is_done(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    burst(lab, workflow, 4)
    first, *others = lab.take_offered()
    lab.publish(others)
    assert lab.work() == {Outcome.HELD: 3}
    assert lab.states(workflow) == ["pending", "held", "held", "held"]
    assert SequenceTracker(workflow).missing() == {"a": [1]}
    lab.publish([first])
    lab.work()
    assert lab.ledger.handled(workflow, "a") == [1, 2, 3, 4]
    assert SequenceTracker(workflow).missing() == {}


def test_more_held_successors_than_one_transaction_takes(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    burst(lab, workflow, 450)
    first, *others = lab.take_offered()
    lab.put(others)
    lab.work(10)
    assert lab.ledger.handled(workflow, "a") == []
    lab.put([first])
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == list(range(1, 451))


def test_two_gaps_in_one_batch(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    burst(lab, workflow, 7)
    all_of_them = lab.take_offered()
    lab.put(all_of_them[number] for number in (6, 2, 0, 4))
    lab.work()
    assert lab.ledger.handled(workflow, "a") == [1]
    lab.put(all_of_them[number] for number in (3, 1))
    lab.work(3)
    assert lab.ledger.handled(workflow, "a") == [1, 2, 3, 4, 5]
    lab.put([all_of_them[5]])
    lab.work(3)
    assert lab.ledger.handled(workflow, "a") == [1, 2, 3, 4, 5, 6, 7]


def test_workflows_and_agents_do_not_wait_for_each_other(lab: Lab) -> None:
    lab.agent("a")
    lab.agent("b")
    stuck, free = lab.workflow(), lab.workflow()
    burst(lab, stuck, 2)
    missing, *rest = lab.take_offered()
    burst(lab, stuck, 2, "b")
    burst(lab, free, 2)
    lab.put([*rest, *lab.take_offered()])
    lab.work()
    assert lab.ledger.handled(stuck, "a") == []
    assert lab.ledger.handled(stuck, "b") == [3, 4]
    assert lab.ledger.handled(free, "a") == [1, 2]
    lab.put([missing])
    lab.work()
    assert lab.ledger.handled(stuck, "a") == [1, 2]


def test_what_handlers_send_is_numbered_and_handled_in_order(lab: Lab) -> None:
    def pass_on(message: Envelope, context: HandlerContext) -> None:
        if message.data < 9:
            context.send("pong" if context.agent == "ping" else "ping", "test.message", message.data + 1)

    lab.agent("ping", pass_on)
    lab.agent("pong", pass_on)
    workflow = lab.workflow()
    lab.send(workflow, "ping", 0)
    lab.settle()
    assert lab.ledger.handled(workflow, "ping") == [1, 3, 5, 7, 9]
    assert lab.ledger.handled(workflow, "pong") == [2, 4, 6, 8, 10]
    last = Message.objects.get(workflow=workflow, sequence=10)
    assert Message.objects.filter(workflow=workflow).count() == last.sequence


def test_handlers_that_answer_with_one_deduplication_id_leave_no_hole(lab: Lab) -> None:
    def answer(message: Envelope, context: HandlerContext) -> None:
        context.send("sink", "test.message", deduplication_id="only-once")

    lab.agent("a", answer)
    lab.agent("sink")
    workflow = lab.workflow()
    burst(lab, workflow, 3)
    lab.settle()
    lab.send(workflow, "sink")
    lab.settle()
    assert lab.ledger.handled(workflow, "sink") == [4, 5]


@pytest.mark.parametrize("through_context_too", [False, True])
def test_a_handler_may_send_through_the_bus_itself(lab: Lab, through_context_too: bool) -> None:
    def answer(message: Envelope, context: HandlerContext) -> None:
        lab.bus.send(message.workflow_id, "sink", "test.message", "bus", sender=context.agent)
        if through_context_too:
            context.send("sink", "test.message", "context")

    lab.agent("a", answer)
    lab.agent("sink")
    workflow = lab.workflow()
    burst(lab, workflow, 3)
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1, 2, 3]
    assert sorted(lab.ledger.handled(workflow, "sink")) == list(range(4, 10 if through_context_too else 7))
    assert lab.ledger.handled(workflow, "sink") == sorted(lab.ledger.handled(workflow, "sink"))
    assert len(lab.ledger.attempts) == len(lab.states(workflow)), "nothing was rolled back and tried again"


def test_a_send_that_a_handler_rolls_back_leaves_no_hole(lab: Lab) -> None:
    def answer(message: Envelope, context: HandlerContext) -> None:
        with transaction.atomic():
            lab.bus.send(message.workflow_id, "sink", "test.message", sender=context.agent)
            transaction.set_rollback(True)
        context.send("sink", "test.message")

    lab.agent("a", answer)
    lab.agent("sink")
    workflow = lab.workflow()
    burst(lab, workflow, 2)
    lab.settle()
    assert sorted(Message.objects.filter(workflow=workflow).values_list("sequence", flat=True)) == [1, 2, 3, 4]
    assert Mailbox.objects.get(workflow=workflow, agent="sink").sent == 2
    assert lab.ledger.handled(workflow, "sink") == [3, 4]


def test_a_handler_may_start_a_workflow_and_send_in_it(lab: Lab) -> None:
    started: list[UUID] = []

    def delegate(message: Envelope, context: HandlerContext) -> None:
        started.append(lab.workflow())
        lab.bus.send(started[-1], "sink", "test.message", sender=context.agent)

    lab.agent("a", delegate)
    lab.agent("sink")
    workflow = lab.workflow()
    burst(lab, workflow, 2)
    lab.settle()
    assert [lab.ledger.handled(each, "sink") for each in started] == [[1], [1]]


def test_a_group_message_is_handled_once_by_each_member(lab: Lab) -> None:
    for name in ("a", "b", "c"):
        lab.agent(name)
    lab.bus.create_group("team", ["a", "b", "c"])
    workflow = lab.workflow()
    for _ in range(3):
        lab.bus.send_to_group(workflow, "team", "test.message", sender="a")
    lab.put(lab.take_offered()[::-1] * 2)
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == []
    assert lab.ledger.handled(workflow, "b") == lab.ledger.handled(workflow, "c") == [1, 2, 3]
    assert SequenceTracker(workflow).is_processed(3)


def test_a_message_that_expired_is_left_out_and_its_successors_go_on(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    for expires_in in (5.0, None, 5.0, 5.0, None):
        lab.send(workflow, "a", expires_in=expires_in)
    lab.clock.advance(6)
    lab.put(lab.take_offered()[::-1])
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [2, 5]
    assert lab.states(workflow) == ["expired", "processed", "expired", "expired", "processed"]
    assert SequenceTracker(workflow).pending() == {"a": 0}


def test_a_paused_workflow_holds_everything_and_resumes_in_order(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    burst(lab, workflow, 3)
    lab.bus.pause_workflow(workflow, "lunch")
    lab.publish()
    assert lab.work() == {Outcome.HELD: 3}
    burst(lab, workflow, 3)
    lab.bus.resume_workflow(workflow)
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1, 2, 3, 4, 5, 6]


def test_a_cancelled_workflow_handles_nothing_more(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    burst(lab, workflow, 3)
    lab.publish()
    lab.bus.cancel_workflow(workflow)
    assert lab.work() == {Outcome.DUPLICATE: 3}
    assert lab.ledger.attempts == []
    assert lab.states(workflow) == ["cancelled"] * 3


def test_a_crash_after_the_commit_and_before_the_acknowledgement_doubles_nothing(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    burst(lab, workflow, 5)
    lab.publish()
    lab.consumer.step_without_acknowledging()
    lab.restart_consumer()
    assert lab.work(2) == {Outcome.DUPLICATE: 5}
    assert lab.ledger.handled(workflow, "a") == [1, 2, 3, 4, 5]
    assert len(lab.ledger.attempts) == 5


def test_processed_rows_pruned_early_double_nothing(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    burst(lab, workflow, 3)
    copies = lab.take_offered()
    lab.put(copies)
    lab.work()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM nexus_processed_message")
    lab.put(copies)
    assert lab.work() == {Outcome.DUPLICATE: 3}
    assert Delivery.objects.filter(workflow=workflow, state="processed").count() == 3


@pytest.mark.parametrize("stop", ["cancel_workflow", "complete_workflow", "pause_workflow"])
def test_a_handler_that_stops_its_workflow_stops_the_rest_of_the_batch(lab: Lab, stop: str) -> None:
    def handler(message: Envelope, context: HandlerContext) -> None:
        if message.sequence_number == 2:
            context.send("web", "test.message", "the last word")
            getattr(lab.bus, stop)(message.workflow_id)

    lab.agent("a", handler)
    workflow, other = lab.workflow(), lab.workflow()
    burst(lab, workflow, 5)
    burst(lab, other, 1)
    lab.publish()
    lab.work(3)
    assert lab.ledger.handled(workflow, "a") == [1, 2]
    assert lab.ledger.handled(other, "a") == [1]
    assert Message.objects.filter(workflow=workflow, subject="web").count() == 1
    assert lab.states(workflow)[:2] == ["processed", "processed"]
