"""Receiving, on both databases: handlers that fail."""

from __future__ import annotations

import sys
from collections.abc import Callable
from uuid import UUID

import pytest
from django.db import DatabaseError, connection

from messaging.api import Envelope, HandlerContext, Outgoing, RetryPolicy, TerminalError, TransientError
from messaging.core.outcome import Outcome
from messaging.models import DeadLetter, Delivery, Mailbox, Workflow
from tests.support.lab import Lab


class Fails:
    """A handler that raises for some sequence numbers, at so many attempts."""

    def __init__(self, failures: dict[int, int], error: Callable[[], BaseException] = lambda: ValueError("no")) -> None:
        self._failures = failures
        self._error = error

    def __call__(self, message: Envelope, context: HandlerContext) -> None:
        if context.attempt <= self._failures.get(message.sequence_number, 0):
            context.send("sink", "test.message", "sent by a failure")
            raise self._error()


ALWAYS = 1_000


def burst(lab: Lab, workflow: UUID, count: int) -> None:
    lab.bus.send_many(
        [Outgoing(workflow_id=workflow, source="web", recipient="a", type="test.message", data=None)] * count
    )


def test_what_a_failed_handler_wrote_and_sent_is_rolled_back(lab: Lab) -> None:
    lab.agent("a", Fails({2: 1}))
    lab.agent("sink")
    workflow = lab.workflow()
    burst(lab, workflow, 3)
    lab.publish()
    lab.work()
    assert lab.ledger.handled(workflow, "a") == [1], "3 waits for 2, whose row was rolled back"
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1, 2, 3]
    assert lab.ledger.handled(workflow, "sink") == []


def test_a_poison_message_in_a_batch_fails_alone(lab: Lab) -> None:
    lab.agent("a", Fails({3: ALWAYS}))
    lab.agent("sink")
    workflows = [lab.workflow() for _ in range(4)]
    for workflow in workflows[1:]:
        burst(lab, workflow, 2)
    burst(lab, workflows[0], 5)
    lab.publish()
    lab.work()
    for workflow in workflows[1:]:
        assert lab.ledger.handled(workflow, "a") == [1, 2]
    assert lab.ledger.handled(workflows[0], "a") == [1, 2]
    assert "processed" not in lab.states(workflows[0])[2:]
    lab.settle()
    assert lab.states(workflows[0])[:3] == ["processed", "processed", "dead"]
    assert not Delivery.objects.filter(attempts__gt=0).exclude(message__sequence=3).exists()


def test_attempts_are_durable_back_off_and_are_told(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab.agent("a", Fails({1: ALWAYS}), retry=RetryPolicy(max_attempts=4, base=100.0, cap=1000.0))
    workflow = lab.workflow()
    message = lab.send(workflow, "a")
    lab.publish()
    lab.work()
    assert Delivery.objects.get(message=message).attempts == 1
    lab.restart_consumer()
    for attempts in (2, 3, 4):
        lab.until(lambda: Delivery.objects.get(message=message).attempts == attempts, step=50.0)  # noqa: B023
    assert lab.state_of(message) == "dead"
    said_of = [record for record in caplog.records if record.module == "announcing"]
    told = [(record.levelname, record.__dict__["nexus"]) for record in said_of]
    assert [(level, said["outcome"], said["attempt"]) for level, said in told] == [
        *(("WARNING", "retry", attempt) for attempt in (1, 2, 3)),
        ("ERROR", "dead", 4),
    ]
    assert {(said["workflow"], said["message"], said["agent"]) for _, said in told} == {
        (str(workflow), str(message), "a")
    }


def test_a_late_mark_of_the_publisher_does_not_delay_a_retry(lab: Lab) -> None:
    """A retry that is due must not be taken for a delivery that a queue still has."""
    lab.agent("a", Fails({1: 1}), retry=RetryPolicy(max_attempts=3, base=0.5, cap=0.5))
    workflow = lab.workflow()
    message = lab.send(workflow, "a")
    offered = lab.take_offered()
    lab.put(offered)
    lab.work()
    lab.publisher_notes(offered)
    assert lab.state_of(message) == "pending"
    lab.relay_turn(after=1.0)
    lab.work()
    assert lab.state_of(message) == "processed"


def test_retry_after_is_kept(lab: Lab) -> None:
    lab.agent("a", Fails({1: 1}, lambda: TransientError("busy", retry_after=500.0)))
    workflow = lab.workflow()
    message = lab.send(workflow, "a")
    lab.publish()
    lab.work()
    lab.relay_turn(after=400.0)
    lab.work()
    assert lab.state_of(message) == "pending"
    lab.relay_turn(after=101.0)
    lab.work()
    assert lab.state_of(message) == "processed"


def test_a_terminal_error_is_never_tried_again(lab: Lab) -> None:
    lab.agent("a", Fails({1: ALWAYS}, lambda: TerminalError("nonsense")))
    workflow = lab.workflow()
    lab.send(workflow, "a")
    lab.publish()
    assert lab.work()[Outcome.DEAD] == 1
    letter = DeadLetter.objects.get()
    assert (letter.reason, letter.agent, letter.status, letter.error) == ("handler_error", "a", "open", "TerminalError")
    assert "nonsense" in letter.detail


def test_a_dead_letter_parks_its_workflow_and_no_other(lab: Lab) -> None:
    lab.agent("a", Fails({2: ALWAYS}, lambda: TerminalError("no")))
    workflow, other = lab.workflow(), lab.workflow()
    burst(lab, workflow, 4)
    burst(lab, other, 1)
    lab.settle()
    assert Workflow.objects.get(pk=workflow).status == "parked"
    assert lab.ledger.handled(workflow, "a") == [1]
    burst(lab, other, 0)
    lab.send(other, "a")
    lab.settle()
    assert lab.states(other) == ["processed", "dead"]


def test_with_the_skip_policy_the_workflow_goes_on(lab: Lab) -> None:
    lab.agent("a", Fails({2: ALWAYS, 3: ALWAYS}, lambda: TerminalError("no")))
    workflow = lab.workflow(failure_policy="skip")
    burst(lab, workflow, 5)
    lab.put(lab.take_offered()[::-1])
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1, 4, 5]
    assert DeadLetter.objects.count() == 2
    assert Workflow.objects.get(pk=workflow).status == "running"


def test_a_handler_that_swallows_a_database_error_ends_as_a_dead_letter(lab: Lab) -> None:
    """On PostgreSQL its transaction is void from then on; the message must not be postponed for ever."""

    def swallow(message: Envelope, context: HandlerContext) -> None:
        with connection.cursor() as cursor:
            try:
                cursor.execute("SELECT * FROM there_is_no_such_table")
            except DatabaseError:
                context.logger.info("swallowed")

    lab.agent("a", swallow)
    workflow = lab.workflow()
    lab.send(workflow, "a")
    lab.settle()
    assert lab.states(workflow) == (["dead"] if connection.vendor == "postgresql" else ["processed"])


def test_a_handler_that_breaks_a_constraint_fails_alone(lab: Lab) -> None:
    def double(message: Envelope, context: HandlerContext) -> None:
        if message.sequence_number == 2:
            Mailbox.objects.create(workflow_id=message.workflow_id, agent="a")

    lab.agent("a", double)
    workflow, other = lab.workflow(), lab.workflow()
    burst(lab, workflow, 2)
    burst(lab, other, 1)
    lab.settle()
    assert lab.states(workflow) == ["processed", "dead"]
    assert lab.states(other) == ["processed"]


@pytest.mark.parametrize("leased", [False, True])
def test_a_handler_that_calls_exit_does_not_end_the_consumer(lab: Lab, leased: bool) -> None:
    def leave(message: Envelope, context: HandlerContext) -> None:
        if message.sequence_number == 1:
            sys.exit(3)

    lab.agent("a", leave, leased=leased)
    workflow, other = lab.workflow(failure_policy="skip"), lab.workflow(failure_policy="skip")
    burst(lab, workflow, 2)
    lab.settle()
    assert lab.states(workflow) == ["dead", "processed"]
    lab.send(other, "a")
    lab.settle()
    assert lab.states(other) == ["dead"]


def test_an_agent_that_this_worker_does_not_know_is_tried_and_then_dead(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    lab.send(workflow, "a")
    lab.unregister("a")
    lab.publish()
    assert lab.work() == {Outcome.RETRY: 1}, "another worker may know it"
    lab.settle()
    assert DeadLetter.objects.get().reason == "unknown_agent"


@pytest.mark.parametrize(
    "data", [{"x": float("inf")}, "x" * 300_000, object()], ids=["infinity", "oversize", "no JSON"]
)
def test_what_cannot_be_sent_is_the_senders_failure(lab: Lab, data: object) -> None:
    def answer(message: Envelope, context: HandlerContext) -> None:
        context.send("a", "test.message", data)

    lab.agent("a", answer)
    workflow, other = lab.workflow(), lab.workflow()
    lab.send(workflow, "a")
    lab.send(other, "web")
    lab.settle()
    assert lab.states(workflow) == ["dead"]


def test_a_worker_that_dies_with_a_message_costs_it_its_attempts(lab: Lab) -> None:
    lab.configure(max_attempts=3)
    lab.agent("a")
    workflow = lab.workflow()
    burst(lab, workflow, 3)
    lab.publish()
    for _ in range(6):
        lab.consumer.step_and_die_in_handler(2)
        lab.restart_consumer()
    lab.settle()
    assert lab.states(workflow) == ["processed", "dead", "held"]
    assert DeadLetter.objects.get().reason == "crash_loop"


def test_waiting_costs_no_attempts(lab: Lab) -> None:
    """A delivery that is not handled is not charged, however often its worker dies and whatever it waits for."""
    lab.configure(max_attempts=2)
    lab.agent("a")
    workflow, paused = lab.workflow(), lab.workflow()
    burst(lab, workflow, 2)
    first, second = lab.take_offered()
    burst(lab, paused, 1)
    (held,) = lab.take_offered()
    lab.bus.pause_workflow(paused)
    for _ in range(5):
        lab.put([second, held])
        lab.consumer.take_and_die()
        lab.restart_consumer()
        assert lab.work() == {Outcome.HELD: 2}
    lab.put([first])
    lab.bus.resume_workflow(paused)
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1, 2]
    assert lab.ledger.handled(paused, "a") == [1]
    assert not Delivery.objects.filter(attempts__gt=0).exists()
