"""Concurrency and rate limits: what finds its agent at a limit waits in the log, in order, and in nobody's way."""

from __future__ import annotations

from itertools import pairwise

from messaging.api import Envelope, HandlerContext
from messaging.models import Delivery
from messaging.testing.servers.waiting import wait_until
from tests.integration.agents.leased.conftest import WAIT, Gate, Register
from tests.support.lab import Lab


def states(agent: str) -> list[str]:
    return sorted(Delivery.objects.filter(agent=agent).values_list("state", flat=True))


def step_until(lab: Lab, condition: object, what: str) -> None:
    def reached() -> bool:
        lab.publish()
        lab.consumer.step()
        return bool(condition())  # type: ignore[operator]

    wait_until(reached, WAIT, what)


def test_no_more_handlers_run_than_the_limit_says(lab: Lab, register: Register, gate: Gate) -> None:
    register("limited", gate, concurrency=2)
    for number in range(6):
        lab.send(lab.workflow(), "limited", number)
    step_until(lab, lambda: gate.running == 2, "two handlers")
    assert states("limited") == ["held"] * 4 + ["leased"] * 2
    for done in range(1, 7):
        gate.let_through()
        step_until(
            lab,
            lambda done=done: states("limited").count("processed") == done and gate.running == min(2, 6 - done),
            f"{done} done and the free place taken at once",
        )
    assert gate.most == 2
    assert sorted(gate.order) == list(range(6))


def test_an_agent_at_its_limit_blocks_nobody_else(lab: Lab, register: Register, gate: Gate) -> None:
    register("limited", gate, concurrency=1)
    register("free", lambda message, context: context.state.update(done=True))
    for number in range(20):  # more than there are places in the worker
        lab.send(lab.workflow(), "limited", number)
    step_until(lab, lambda: gate.running == 1, "one handler")
    lab.send(lab.workflow(), "free", None)
    step_until(lab, lambda: states("free") == ["processed"], "the other agent to be served")
    assert states("limited").count("leased") == 1


def test_order_within_a_mailbox_survives_a_limit(lab: Lab, register: Register, gate: Gate) -> None:
    register("limited", gate, concurrency=2)
    workflows = [lab.workflow() for _ in range(4)]
    for number in range(3):
        for place, workflow in enumerate(workflows):
            lab.send(workflow, "limited", [place, number])
    gate.let_through(12)
    step_until(lab, lambda: states("limited") == ["processed"] * 12, "all of them")
    for place in range(4):
        assert [data for data in gate.order if data[0] == place] == [[place, number] for number in range(3)]
    assert gate.most <= 2


def test_a_failure_frees_its_place_too(lab: Lab, register: Register) -> None:
    def fail(message: Envelope, context: HandlerContext) -> None:
        raise ValueError("no")

    register("limited", fail, concurrency=1)
    for number in range(3):
        lab.send(lab.workflow(failure_policy="skip"), "limited", number)
    lab.settle()
    assert states("limited") == ["dead"] * 3


def test_a_rate_spaces_handlers_out(lab: Lab, register: Register) -> None:
    handled: list[int] = []
    register("paced", lambda message, context: handled.append(message.data), rate=0.1)
    for number in range(4):
        lab.send(lab.workflow(), "paced", number)
    lab.publish()
    lab.work(3)
    assert len(handled) == 1
    due = sorted(Delivery.objects.filter(state="pending", agent="paced").values_list("available_at", flat=True))
    apart = [(later - sooner).total_seconds() for sooner, later in pairwise(due)]
    assert [round(seconds) for seconds in apart] == [10, 10], "each is told a time of its own, so nothing spins"
    for passed in (2, 3, 4):
        lab.relay_turn(after=5)
        lab.work(2)
        assert len(handled) == passed - 1, "too soon"
        lab.relay_turn(after=5.5)
        lab.work(2)
        assert len(handled) == passed
    assert sorted(handled) == [0, 1, 2, 3]


def test_a_rate_allows_no_burst_after_a_pause(lab: Lab, register: Register) -> None:
    handled: list[int] = []
    register("paced", lambda message, context: handled.append(message.data), rate=0.1)
    lab.send(lab.workflow(), "paced", 0)
    lab.settle()
    lab.clock.advance(1_000)
    for number in range(3):
        lab.send(lab.workflow(), "paced", number)
    lab.publish()
    lab.work(3)
    assert len(handled) == 2
