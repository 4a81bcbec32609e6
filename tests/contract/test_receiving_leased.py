"""Receiving, on both databases: leased handlers, outside any transaction, under a lease with a fencing token."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from uuid import UUID

import pytest

from messaging.api import Envelope, HandlerContext, Outgoing, TerminalError
from messaging.core.errors import BrokerUnavailable
from messaging.models import DeadLetter, Delivery, Message
from messaging.recovery import due
from messaging.testing.servers.waiting import wait_until
from tests.support.lab import Lab

WAIT = 20.0


class Gate:
    """A leased handler that waits to be let through, and answers."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.entered = threading.Semaphore(0)
        self._open = threading.Semaphore(0)

    def __call__(self, message: Envelope, context: HandlerContext) -> None:
        self.entered.release()
        assert self._open.acquire(timeout=WAIT)
        if self.error is not None:
            raise self.error
        context.send("sink", "test.message", message.sequence_number)

    def let_through(self, count: int = 1) -> None:
        self._open.release(count)

    def wait_entered(self) -> None:
        assert self.entered.acquire(timeout=WAIT)


@pytest.fixture
def gate(lab: Lab) -> Iterator[Gate]:
    made = Gate()
    lab.agent("slow", made, leased=True)
    lab.agent("sink")
    yield made
    made.let_through(1_000)


def burst(lab: Lab, workflow: UUID, count: int, recipient: str = "slow") -> None:
    one = Outgoing(workflow_id=workflow, source="web", recipient=recipient, type="test.message", data=None)
    lab.bus.send_many([one] * count)


def answers(workflow: UUID) -> list[int]:
    found = Message.objects.filter(workflow=workflow, subject="sink").order_by("sequence")
    return list(found.values_list("sequence", flat=True))


def handled_by(lab: Lab, workflow: UUID) -> list[int]:
    return [entry.sequence for entry in lab.ledger.attempts if (entry.workflow, entry.agent) == (workflow, "slow")]


def turn_until(lab: Lab, state: str, message_sequence: int, workflow: UUID) -> None:
    def reached() -> bool:
        lab.consumer.step()
        return Delivery.objects.get(message__sequence=message_sequence, workflow=workflow).state == state

    wait_until(reached, WAIT, f"message {message_sequence} to be {state}")


def test_leased_messages_of_one_mailbox_run_one_at_a_time_in_order(lab: Lab, gate: Gate) -> None:
    workflow = lab.workflow()
    burst(lab, workflow, 4)
    lab.put(lab.take_offered()[::-1] * 2)
    gate.let_through(4)
    lab.settle()
    assert handled_by(lab, workflow) == [1, 2, 3, 4]
    assert lab.ledger.handled(workflow, "sink") == [5, 6, 7, 8]


def test_different_workflows_run_at_once(lab: Lab, gate: Gate) -> None:
    workflows = [lab.workflow() for _ in range(3)]
    for workflow in workflows:
        burst(lab, workflow, 1)
    lab.publish()
    lab.consumer.step()
    for _ in workflows:
        gate.wait_entered()
    gate.let_through(3)
    lab.settle()


def test_a_running_handler_does_not_hold_up_the_quick_agents(lab: Lab, gate: Gate) -> None:
    workflow = lab.workflow()
    burst(lab, workflow, 1)
    lab.publish()
    lab.consumer.step()
    gate.wait_entered()
    lab.agent("quick")
    other = lab.workflow()
    burst(lab, other, 2, "quick")
    lab.publish()
    lab.consumer.step()
    assert lab.ledger.handled(other, "quick") == [1, 2]
    assert lab.states(workflow) == ["leased"]


def test_a_lease_is_renewed_while_its_handler_runs(lab: Lab, gate: Gate) -> None:
    workflow = lab.workflow()
    burst(lab, workflow, 1)
    lab.publish()
    lab.consumer.step()
    gate.wait_entered()
    for _ in range(6):
        lab.clock.advance(15)
        lab.consumer.step()
        lab.relay_turn()
    assert lab.states(workflow) == ["leased"]
    gate.let_through()
    lab.settle()
    assert handled_by(lab, workflow) == [1]


def test_leases_are_renewed_and_results_stored_while_the_broker_is_away(
    lab: Lab, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise another worker repeats what runs here, such as an expensive call of a language model."""
    workflow = lab.workflow()
    burst(lab, workflow, 1)
    lab.publish()
    lab.consumer.step()
    gate.wait_entered()
    with monkeypatch.context() as patch:
        for method in ("receive", "initialize", "subscribe", "publish_begin"):
            patch.setattr(lab.broker, method, _unreachable)
        patch.setattr(lab.consumer, "_rest", lambda: None)
        for _ in range(6):
            lab.clock.advance(15)
            lab.consumer.guarded_step()
            due.end_expired_leases()
        assert lab.states(workflow) == ["leased"]
        gate.let_through()

        def stored() -> bool:
            lab.consumer.guarded_step()
            return lab.states(workflow)[0] == "processed"

        wait_until(stored, WAIT, "the result to be stored")
    lab.settle()
    assert handled_by(lab, workflow) == [1]
    assert lab.ledger.handled(workflow, "sink") == [2]


def _unreachable(*_: object, **__: object) -> None:
    raise BrokerUnavailable("gone")


@pytest.mark.parametrize("error", [None, ValueError("no"), TerminalError("no")], ids=["result", "failure", "end"])
@pytest.mark.parametrize("again", [False, True], ids=["waiting", "leased again"])
def test_a_frozen_worker_cannot_store_its_outcome(lab: Lab, gate: Gate, error: Exception | None, again: bool) -> None:
    workflow = lab.workflow()
    burst(lab, workflow, 1)
    lab.publish()
    frozen = lab.consumer
    frozen.step()
    gate.wait_entered()
    lab.clock.advance(31)
    lab.relay_turn()
    assert lab.states(workflow) != ["leased"]
    lab.new_consumer()
    if again:  # the other worker handles it already
        turn_until(lab, "leased", 1, workflow)
        gate.wait_entered()
    before = Delivery.objects.values().get(workflow=workflow)
    gate.error = error
    gate.let_through()
    frozen.finish_leases()
    assert answers(workflow) == []
    assert Delivery.objects.values().get(workflow=workflow) == before
    assert not DeadLetter.objects.exists()
    gate.error = None
    gate.let_through()
    lab.settle()
    assert lab.states(workflow) == ["processed", "processed"]
    assert lab.ledger.handled(workflow, "sink") == [2]
    frozen.die()


def test_a_worker_that_died_is_replaced_when_its_lease_ends(lab: Lab, gate: Gate) -> None:
    workflow = lab.workflow()
    burst(lab, workflow, 2)
    lab.publish()
    lab.consumer.step()
    gate.wait_entered()
    dead = lab.consumer
    lab.new_consumer()
    dead.die()
    gate.let_through(10)
    lab.settle()
    assert sorted(set(handled_by(lab, workflow))) == [1, 2]
    assert lab.ledger.handled(workflow, "sink") == [3, 4]


def test_a_message_that_kills_its_worker_at_every_attempt_is_dead_and_its_successor_waits(lab: Lab) -> None:
    lab.configure(max_attempts=2)
    gate = Gate()
    lab.agent("slow", gate, leased=True)
    workflow = lab.workflow()
    burst(lab, workflow, 2)
    lab.publish()
    for _ in range(3):
        lab.consumer.step()
        lab.consumer.step()
        if Delivery.objects.filter(workflow=workflow, state="leased").exists():
            gate.wait_entered()
        lab.restart_consumer()
        lab.relay_turn(after=31)
    lab.consumer.step()
    assert lab.states(workflow) == ["dead", "held"]
    assert DeadLetter.objects.get().reason == "crash_loop"
    lab.replay(DeadLetter.objects.get().pk)
    gate.let_through(10)
    lab.agent("sink")
    lab.settle()
    assert lab.states(workflow)[:2] == ["processed", "processed"]
    gate.let_through(100)


def test_an_expired_leased_message_is_left_out_and_its_successors_go_on(lab: Lab, gate: Gate) -> None:
    workflow = lab.workflow()
    for expires_in in (5.0, None, 5.0, None):
        lab.send(workflow, "slow", expires_in=expires_in)
    lab.clock.advance(6)
    gate.let_through(4)
    lab.put(lab.take_offered())
    lab.settle(step=1.0, rounds=30)  # no gap is looked for in so short a time
    assert handled_by(lab, workflow) == [2, 4]
    assert lab.states(workflow)[:4] == ["expired", "processed", "expired", "processed"]


def test_cancelled_while_it_runs(lab: Lab, gate: Gate) -> None:
    workflow = lab.workflow()
    burst(lab, workflow, 2)
    lab.publish()
    lab.consumer.step()
    gate.wait_entered()
    lab.bus.cancel_workflow(workflow)
    gate.let_through(2)
    lab.work()
    assert answers(workflow) == []
    assert handled_by(lab, workflow) == [1]
    assert set(lab.states(workflow)) == {"cancelled"}


def test_paused_while_it_runs(lab: Lab, gate: Gate) -> None:
    workflow = lab.workflow()
    burst(lab, workflow, 2)
    lab.publish()
    lab.consumer.step()
    gate.wait_entered()
    lab.bus.pause_workflow(workflow)
    gate.let_through(2)
    turn_until(lab, "processed", 1, workflow)
    lab.work(3)
    assert handled_by(lab, workflow) == [1]
    lab.bus.resume_workflow(workflow)
    lab.settle()
    assert handled_by(lab, workflow) == [1, 2]
