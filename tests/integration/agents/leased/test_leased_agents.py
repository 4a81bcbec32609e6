"""What agents are promised beyond delivery: accepts, state, once, pause switches, results stored together."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest

from agents.api import pause_agent, paused_agents, resume_agent
from messaging.api import Envelope, HandlerContext, HandlerKind, Outgoing, RetryPolicy
from messaging.core.outcome import Outcome
from messaging.core.registry import WORKER_KINDS
from messaging.directory import pausing
from messaging.models import AgentState, DeadLetter, Delivery, Message, OnceResult
from messaging.recovery.pruning import prune_once_results
from messaging.testing.servers.waiting import wait_until
from tests.integration.agents.leased.conftest import WAIT, Gate, Register
from tests.support.lab import Lab

KINDS = pytest.mark.parametrize("kind", WORKER_KINDS)
ONCE = RetryPolicy(max_attempts=1, base=0.1, cap=1)


def count_up(message: Envelope, context: HandlerContext) -> None:
    context.state["seen"] = [*context.state.get("seen", []), message.data]
    if message.data == "fail":
        raise ValueError("no")


def state_of(workflow: UUID, agent: str) -> Any:
    return json.loads(AgentState.objects.get(workflow_id=workflow, agent=agent).data)


def states(workflow: UUID) -> list[str]:
    return list(Delivery.objects.filter(workflow=workflow).order_by("position").values_list("state", flat=True))


@KINDS
def test_a_type_that_is_not_accepted_is_a_dead_letter_that_says_so(
    lab: Lab, register: Register, kind: HandlerKind
) -> None:
    handled: list[str] = []
    register(
        "picky", lambda message, context: handled.append(message.type), kind=kind, accepts=("audit.*", "test.done")
    )
    workflow = lab.workflow(failure_policy="skip")
    for name in ("audit.file", "test.done", "test.message", "audit", "auditor.file"):
        lab.bus.send(workflow, "picky", name, None, sender="web")
    lab.settle()
    assert list(dict.fromkeys(handled)) == ["audit.file", "test.done"], "some twice: a batch that fails is rerun"
    letters = DeadLetter.objects.order_by("pk")
    assert [letter.message_type for letter in letters] == ["test.message", "audit", "auditor.file"]
    assert "does not accept messages of type 'audit', sent by 'web'; it accepts audit.*, test.done" in letters[1].detail
    assert {delivery.attempts for delivery in Delivery.objects.filter(state="dead")} <= {0, 1}, "not retried"


@KINDS
def test_state_is_what_the_last_handled_message_left(lab: Lab, register: Register, kind: HandlerKind) -> None:
    register("counter", count_up, kind=kind, retry=ONCE)
    one, other = lab.workflow(failure_policy="skip"), lab.workflow()
    for data in (1, 2, "fail", 3):
        lab.send(one, "counter", data)
    lab.send(other, "counter", 9)
    lab.settle()
    assert state_of(one, "counter") == {"seen": [1, 2, 3]}, "the failed handler's change is not stored"
    assert state_of(other, "counter") == {"seen": [9]}


@KINDS
@pytest.mark.parametrize("bad", [object(), "x" * 2_000_000])
def test_a_state_that_cannot_be_kept_is_refused(lab: Lab, register: Register, kind: HandlerKind, bad: object) -> None:
    register("bad", lambda message, context: context.state.update(value=bad), kind=kind, retry=ONCE)
    workflow = lab.workflow()
    lab.send(workflow, "bad")
    lab.settle()
    assert states(workflow) == ["dead"]
    assert not AgentState.objects.exists()


@KINDS
def test_a_paused_agents_messages_wait_and_go_on_in_order(lab: Lab, register: Register, kind: HandlerKind) -> None:
    handled: list[int] = []
    register("sleepy", lambda message, context: handled.append(message.data), kind=kind)
    register("awake", lambda message, context: handled.append(-1), kind=kind)
    pause_agent("sleepy", reason="its model costs too much", user="ann")
    assert paused_agents() == ["sleepy"]
    workflow = lab.workflow()
    for number in range(5):
        lab.send(workflow, "sleepy", number)
    lab.send(workflow, "awake")
    lab.publish()
    assert lab.work(3)[Outcome.HELD] == 5
    assert handled == [-1]
    assert lab.work(3).total() == 0, "nothing spins"
    assert states(workflow).count("held") == 5
    assert resume_agent("sleepy", user="ann") == 1, "the first of the mailbox; the others follow it"
    assert states(workflow).count("pending") == 1, "due at once, not at the next repair"
    lab.settle()
    assert handled == [-1, 0, 1, 2, 3, 4]
    assert paused_agents() == []


@KINDS
def test_a_worker_that_still_believes_in_a_pause_asks_again(
    lab: Lab, register: Register, kind: HandlerKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise what it held after the release would wait for the next repair."""
    handled: list[int] = []
    register("sleepy", lambda message, context: handled.append(message.data), kind=kind)
    pause_agent("sleepy")
    monkeypatch.setattr(pausing, "REMEMBER", 1_000.0)
    assert pausing._switches.remembered() == {"sleepy"}
    monkeypatch.setattr(pausing._switches, "forget", lambda: None)  # another process's memory
    resume_agent("sleepy")
    lab.send(lab.workflow(), "sleepy", 1)
    lab.publish()
    lab.work(3)
    assert handled == [1]


def test_once_returns_the_first_result_whoever_comes_second(lab: Lab, register: Register) -> None:
    """A worker that was frozen in its call and a second one that took over: both see what was stored first."""
    results: list[Any] = []

    def call(message: Envelope, context: HandlerContext) -> None:
        def overtaken() -> str:
            OnceResult.objects.create(
                delivery_id=context.delivery_id, key="call", result=b'"theirs"', created_at=message.time
            )
            return "mine"

        results.append(context.once("call", overtaken))

    register("caller", call)
    lab.send(lab.workflow(), "caller")
    lab.settle()
    assert results == ["theirs"]


def test_once_is_refused_in_a_transactional_handler(lab: Lab, register: Register) -> None:
    register("quick", lambda message, context: context.once("call", lambda: 1), kind=HandlerKind.TRANSACTIONAL)
    lab.send(lab.workflow(), "quick")
    lab.settle()
    assert "Make the agent leased" in DeadLetter.objects.get().detail


def test_a_failed_handler_keeps_its_results_for_the_retry(lab: Lab, register: Register) -> None:
    calls: list[str] = []

    async def work(message: Envelope, context: HandlerContext) -> None:
        async def call(name: str) -> str:
            calls.append(name)
            return name

        await context.once("one", lambda: call("one"))
        if context.attempt < 3:
            raise ConnectionError("between the calls")
        await context.once("two", lambda: call("two"))

    register("worker", work, retry=RetryPolicy(max_attempts=5, base=0.01, cap=0.01))
    lab.send(lab.workflow(), "worker")
    lab.settle()
    assert calls == ["one", "two"]


def test_old_results_are_pruned(lab: Lab, register: Register) -> None:
    register("caller", lambda message, context: context.once("call", lambda: 1))
    lab.send(lab.workflow(), "caller")
    lab.settle()
    assert prune_once_results() == 0
    lab.clock.advance(8 * 86_400)
    assert prune_once_results() == 1


def test_one_result_that_is_refused_does_not_take_others_with_it(lab: Lab, register: Register, gate: Gate) -> None:
    """Results that end together are stored in one transaction; the bad one is found and fails alone."""

    def work(message: Envelope, context: HandlerContext) -> None:
        context.send("nobody" if message.data == 2 else "web", "test.done", message.data)
        gate(message, context)

    register("worker", work, retry=ONCE)
    for number in range(4):
        lab.send(lab.workflow(), "worker", number)
    lab.publish()

    def all_run() -> bool:
        lab.consumer.step()
        return gate.running == 4

    wait_until(all_run, WAIT, "all to run")
    gate.let_through(4)
    wait_until(lambda: gate.running == 0, WAIT, "all to end")
    lab.settle()
    assert sorted(Delivery.objects.filter(agent="worker").values_list("state", flat=True)) == [
        "dead",
        "processed",
        "processed",
        "processed",
    ]
    assert Message.objects.filter(subject="web").count() == 3


def test_a_workflow_that_is_cancelled_meanwhile_leaves_no_dead_letter(lab: Lab, register: Register, gate: Gate) -> None:
    def work(message: Envelope, context: HandlerContext) -> None:
        context.send("web", "test.done")
        gate(message, context)

    register("worker", work)
    workflow = lab.workflow()
    lab.send(workflow, "worker", 1)
    lab.publish()

    def runs() -> bool:
        lab.consumer.step()
        return gate.running == 1

    wait_until(runs, WAIT, "the handler to run")
    lab.bus.cancel_workflow(workflow)
    gate.let_through()
    lab.work(2)
    assert states(workflow) == ["cancelled"]
    assert not DeadLetter.objects.exists()
    assert Message.objects.count() == 1


def test_a_leased_mailbox_goes_on_behind_messages_that_expired(lab: Lab, register: Register) -> None:
    handled: list[int] = []
    register("slow", lambda message, context: handled.append(message.data))
    workflow = lab.workflow()
    for number, expires_in in enumerate([1.0, 1.0, None, 1.0, None]):
        lab.send(workflow, "slow", number, expires_in=expires_in)
    lab.clock.advance(5)
    offered = lab.take_offered()
    lab.publish(offered[:2])
    lab.work(2)
    assert states(workflow)[:2] == ["expired", "expired"]
    lab.publish(offered[2:])
    lab.work(8)  # no repair of the relay is needed
    assert handled == [2, 4]
    assert states(workflow) == ["expired", "expired", "processed", "expired", "processed"]


def test_async_handlers_share_one_loop(lab: Lab, register: Register) -> None:
    loops: set[int] = set()

    async def look(message: Envelope, context: HandlerContext) -> None:
        loops.add(id(asyncio.get_running_loop()))
        await asyncio.sleep(0.01)

    register("looking", look)
    workflows = [lab.workflow() for _ in range(20)]
    lab.bus.send_many(
        [
            Outgoing(workflow_id=workflow, source="web", recipient="looking", type="test.message", data=None)
            for workflow in workflows
        ]
    )
    lab.settle()
    assert len(loops) == 1
    assert Delivery.objects.filter(state="processed").count() == 20
