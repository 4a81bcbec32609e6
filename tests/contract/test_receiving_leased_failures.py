"""Receiving, on both databases: leased handlers that fail, and agents whose kind changes."""

from __future__ import annotations

from uuid import UUID

from django.db import connection

from messaging.api import Envelope, HandlerContext, Outgoing, TerminalError
from messaging.core.outcome import Outcome
from messaging.models import DeadLetter, Delivery, Message
from tests.support.lab import Lab


def burst(lab: Lab, workflow: UUID, count: int, recipient: str = "slow") -> None:
    one = Outgoing(workflow_id=workflow, source="web", recipient=recipient, type="test.message", data=None)
    lab.bus.send_many([one] * count)


def answers(workflow: UUID) -> list[int]:
    found = Message.objects.filter(workflow=workflow, subject="sink").order_by("sequence")
    return list(found.values_list("sequence", flat=True))


def handled_by(lab: Lab, workflow: UUID) -> list[int]:
    return [entry.sequence for entry in lab.ledger.attempts if (entry.workflow, entry.agent) == (workflow, "slow")]


def test_replayed_after_a_skip_two_at_once(lab: Lab) -> None:
    failing = {1, 2}

    def handler(message: Envelope, context: HandlerContext) -> None:
        if message.sequence_number in failing:
            raise TerminalError("not yet")

    lab.agent("slow", handler, leased=True)
    workflow = lab.workflow(failure_policy="skip")
    burst(lab, workflow, 3)
    lab.settle()
    assert lab.states(workflow) == ["dead", "dead", "processed"]
    failing.clear()
    for letter in DeadLetter.objects.order_by("pk"):
        lab.replay(letter.pk)
    lab.settle()
    assert lab.states(workflow) == ["processed"] * 3


def test_an_async_agent_that_was_transactional_when_it_was_sent_to_is_awaited(lab: Lab) -> None:
    """What was sent before the deployment lies in the other queue."""
    lab.agent("changing")
    workflow = lab.workflow()
    burst(lab, workflow, 1, "changing")

    async def handler(message: Envelope, context: HandlerContext) -> None:
        context.send("web", "test.message", "done")

    lab.async_agent("changing", handler)
    lab.settle()
    assert lab.states(workflow) == ["processed", "processed"]


def test_failures_are_tried_again_and_roll_nothing_half_back(lab: Lab) -> None:
    def handler(message: Envelope, context: HandlerContext) -> None:
        context.send("sink", "test.message", context.attempt)
        if context.attempt < 3:
            raise ValueError("no")

    lab.agent("slow", handler, leased=True)
    lab.agent("sink")
    workflow = lab.workflow()
    burst(lab, workflow, 1)
    lab.settle()
    assert answers(workflow) == [2]
    assert handled_by(lab, workflow) == [1, 1, 1]
    assert Delivery.objects.get(workflow=workflow, agent="slow").attempts == 3
    assert connection.in_atomic_block is False


def test_what_a_leased_handler_sends_and_the_log_refuses_is_its_failure(lab: Lab) -> None:
    def handler(message: Envelope, context: HandlerContext) -> None:
        context.send("nobody-of-this-name", "test.message")

    lab.agent("slow", handler, leased=True)
    workflow, other = lab.workflow(), lab.workflow()
    burst(lab, workflow, 1)
    burst(lab, other, 1, "slow")
    lab.settle()
    assert lab.states(workflow) == ["dead"]
    assert lab.consumer.outcomes[Outcome.DEAD] == 2


def test_an_agent_that_was_leased_when_it_was_sent_to_runs_inside_its_transaction(lab: Lab) -> None:
    lab.agent("changing", leased=True)
    workflow = lab.workflow()
    burst(lab, workflow, 3, "changing")
    lab.agent("changing")
    lab.settle()
    assert lab.ledger.handled(workflow, "changing") == [1, 2, 3]
