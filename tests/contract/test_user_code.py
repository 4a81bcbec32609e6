"""No exception and no value of a user's code stops a worker, harms an innocent or repeats what it did."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import OperationalError, close_old_connections, connection, connections, transaction

from messaging import log
from messaging.api import (
    CommunicationBus,
    Envelope,
    HandlerContext,
    Outgoing,
    RetryPolicy,
    TerminalError,
    TransientError,
)
from messaging.core.outcome import Outcome
from messaging.core.registry import Handler
from messaging.models import DeadLetter, Delivery, Workflow
from messaging.receiving import charging
from messaging.receiving.leased import runner
from messaging.receiving.transactional import batch, calling, execution
from tests.support.lab import Lab

THREE = RetryPolicy(max_attempts=3, base=0.1, cap=1.0)


class Unprintable(Exception):
    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __str__(self) -> str:
        raise RuntimeError("no str")


class Rude(BaseException):
    pass


def raising(error: Callable[[], BaseException]) -> Callable[[Envelope, HandlerContext], None]:
    def handle(message: Envelope, context: HandlerContext) -> None:
        raise error()

    return handle


def sending(*arguments: Any, **options: Any) -> Callable[[Envelope, HandlerContext], None]:
    def handle(message: Envelope, context: HandlerContext) -> None:
        context.send(*arguments, **options)

    return handle


def remembering(value: Any) -> Callable[[Envelope, HandlerContext], None]:
    def handle(message: Envelope, context: HandlerContext) -> None:
        context.state["it"] = value

    return handle


OFFENDERS: dict[str, tuple[Callable[[Envelope, HandlerContext], None], str]] = {
    "cancelled": (raising(asyncio.CancelledError), "CancelledError"),
    "keyboard": (raising(KeyboardInterrupt), "KeyboardInterrupt"),
    "exit": (raising(lambda: SystemExit(3)), "SystemExit"),
    "generator exit": (raising(GeneratorExit), "GeneratorExit"),
    "own BaseException": (raising(Rude), "Rude"),
    "unprintable": (raising(Unprintable), "Unprintable"),
    "retry_after is text": (raising(lambda: TransientError("x", retry_after="30")), "TransientError"),  # type: ignore[arg-type]
    "retry_after is negative": (raising(lambda: TransientError("x", retry_after=-1e300)), "TransientError"),
    "retry_after is no number": (raising(lambda: TransientError("x", retry_after=float("nan"))), "TransientError"),
    "retry_after is None in a list": (raising(lambda: TransientError("x", retry_after=[])), "TransientError"),  # type: ignore[arg-type]
    "surrogate in the error": (raising(lambda: ValueError("\ud800 \x00")), "ValueError"),
    "a very long error": (raising(lambda: ValueError("x" * 1_000_000)), "ValueError"),
    "sends to None": (sending(None, "t"), "subject"),
    "sends to a number": (sending(5, "t"), "subject"),
    "type is None": (sending("web", None), "type"),
    "type is a number": (sending("web", 7), "type"),
    "expires in a century": (sending("web", "t", expires_in=1e12), "expires_in"),
    "expires as text": (sending("web", "t", expires_in="5"), "expires_in"),
    "expires never": (sending("web", "t", expires_in=float("nan")), "expires_in"),
    "NUL in the deduplication id": (sending("web", "t", deduplication_id="\x00"), "deduplication_id"),
    "long deduplication id": (sending("web", "t", deduplication_id="x" * 201), "deduplication_id"),
    "correlation id is text": (sending("web", "t", correlation_id="nonsense"), "correlation_id"),
    "data is a set of objects": (sending("web", "t", {object()}), "data"),
    "data is not a number": (sending("web", "t", float("nan")), "data"),
    "data has a surrogate": (sending("web", "t", "\ud800"), "data"),
    "data is too large": (sending("web", "t", "x" * 300_000), "envelope"),
    "to nobody": (sending("nobody-at-all", "t"), "nobody-at-all"),
    "state is an object": (remembering(object()), "state"),
    "state is huge": (remembering("x" * 2_000_000), "state"),
    "state has a surrogate": (remembering("\ud800"), "state"),
}


@pytest.mark.parametrize(
    "leased", [False, pytest.param(True, marks=pytest.mark.whole)], ids=["transactional", "leased"]
)
@pytest.mark.parametrize("name", OFFENDERS)
def test_an_offender_becomes_a_dead_letter_with_its_cause(lab: Lab, name: str, leased: bool) -> None:
    handler, cause = OFFENDERS[name]
    lab.agent("offender", handler, leased=leased, retry=THREE)
    lab.agent("innocent", leased=leased)
    workflow = lab.workflow()
    innocents = [lab.workflow() for _ in range(5)]
    for one in innocents[:2]:
        lab.send(one, "innocent")
    lab.send(workflow, "offender")
    for one in innocents[2:]:
        lab.send(one, "innocent")
    lab.publish()
    lab.work(3)
    if leased:
        assert [lab.ledger.tried(one, "innocent") for one in innocents] == [[1]] * 5
    else:  # a batch that is rolled back is handled again; what was committed counts
        assert [lab.ledger.handled(one, "innocent") for one in innocents] == [[1]] * 5
    assert all(lab.all_processed(one) for one in innocents)
    for _ in range(8):
        ended = DeadLetter.objects.exists()
        lab.relay_turn(after=700_000.0)
        lab.work(2)
        if ended:  # and a turn went by in which nothing more was done
            break
    letter = DeadLetter.objects.get()
    assert letter.workflow_id == workflow
    assert letter.reason in ("handler_error", "attempts_used_up", "unknown_agent")
    assert cause in letter.detail, letter.detail[-300:]
    assert Workflow.objects.get(pk=workflow).status == "parked"
    assert len(lab.ledger.tried(workflow, "offender")) <= THREE.max_attempts


@pytest.mark.parametrize("leased", [False, True], ids=["transactional", "leased"])
def test_each_attempt_is_one_call(lab: Lab, leased: bool) -> None:
    lab.agent("a", raising(lambda: ValueError("no")), leased=leased, retry=THREE)
    lab.agent("b", leased=leased)
    workflow, other = lab.workflow(), lab.workflow()
    lab.send(workflow, "a")
    lab.send(other, "b")
    lab.settle()
    assert lab.ledger.tried(workflow, "a") == [1, 1, 1]


# --- what a try changes reaches nobody else ---


def _changes(value: Any) -> None:
    """Change everything that can be reached."""
    if isinstance(value, dict):
        for item in list(value.values()):
            _changes(item)
        value.clear()
        value["changed"] = True
    elif isinstance(value, list):
        for item in value:
            _changes(item)
        value.append("changed")


DATA = {"amount": 5, "lines": [{"n": 1}, [2, {"deep": [3]}]], "none": None}


def test_what_a_try_changes_does_not_reach_the_next(lab: Lab) -> None:
    seen: dict[UUID, list[Any]] = {}

    def mutates(message: Envelope, context: HandlerContext) -> None:
        seen.setdefault(context.workflow_id, []).append(repr(message.data))
        assert context.message.data is message.data
        _changes(message.data)

    def fails(message: Envelope, context: HandlerContext) -> None:
        _changes(message.data)
        raise ValueError("no")

    lab.agent("a", mutates)
    lab.agent("bad", fails, retry=THREE)
    workflows = [lab.workflow() for _ in range(5)]
    for workflow in workflows[:3]:
        lab.send(workflow, "a", DATA)
    lab.send(lab.workflow(), "bad", DATA)
    for workflow in workflows[3:]:
        lab.send(workflow, "a", DATA)
    lab.settle()
    for workflow in workflows:
        assert set(seen[workflow]) == {repr(DATA)}
        assert lab.all_processed(workflow)


def test_members_of_a_group_do_not_share_what_they_get(lab: Lab) -> None:
    seen: list[str] = []

    def mutates(message: Envelope, context: HandlerContext) -> None:
        seen.append(repr(message.data))
        _changes(message.data)

    for bus, sender in ((CommunicationBus(), "program"), (lab.bus, "web")):
        if sender == "program":
            bus.register_agent(sender)
        for name in ("m1", "m2", "m3"):
            bus.register_agent(name, mutates)
        bus.create_group("all", ["m1", "m2", "m3"])
        bus.send(bus.start_workflow("w"), "all", "test.message", DATA, sender=sender)
    for name in ("m1", "m2", "m3"):
        lab._agents.append(name)
    lab.settle()
    assert seen == [repr(DATA)] * 6


# --- connections ---


@pytest.mark.parametrize("close", [lambda: connection.close(), close_old_connections, connections.close_all])
def test_a_handler_that_closes_its_connection_is_charged(lab: Lab, close: Callable[[], None]) -> None:
    def closes(message: Envelope, context: HandlerContext) -> None:
        close()
        connection.close()

    lab.agent("closes", closes, retry=THREE)
    lab.agent("innocent")
    workflow, other = lab.workflow(), lab.workflow()
    lab.send(other, "innocent")
    lab.send(workflow, "closes")
    lab.publish()
    lab.work()
    assert lab.ledger.handled(other, "innocent") == [1]
    lab.settle()
    letter = DeadLetter.objects.get()
    assert letter.workflow_id == workflow
    assert letter.reason == "attempts_used_up"


# --- long handlers ---


@pytest.mark.parametrize("copies", [1, 3])
def test_a_copy_is_not_charged_while_its_first_handling_runs(lab: Lab, copies: int) -> None:
    lab.agent("a", retry=THREE)
    workflow = lab.workflow()
    lab.send(workflow, "a")
    (stored,) = lab.take_offered()
    charged: list[object] = []

    def slow(message: Envelope, context: HandlerContext) -> None:
        """What other workers do meanwhile, on connections of their own."""
        if connection.vendor != "postgresql":
            return

        def others() -> None:
            try:
                for _ in range(copies):
                    charged.append(charging.charge(stored.id, workflow))
                    charged.append(charging.charge_together({stored.id: workflow}).busy)
            finally:
                connection.close()

        thread = threading.Thread(target=others)
        thread.start()
        thread.join(20)

    lab.agent("a", slow, retry=THREE)
    lab.publish([stored])
    lab.work()
    assert Delivery.objects.get(pk=stored.id).attempts == 0
    assert lab.states(workflow) == ["processed"]
    if connection.vendor == "postgresql":
        assert len(charged) == 2 * copies
        assert charged[1::2] == [{stored.id}] * copies


def test_a_slow_handler_does_not_keep_the_batch(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its transaction commits when its time is over; the rest is handled in the next ones, in order."""
    clock = [0.0]
    monkeypatch.setattr(execution, "monotonic", lambda: clock[0])

    def slow(message: Envelope, context: HandlerContext) -> None:
        clock[0] += 0.3

    batches = []
    handle = execution.handle

    def counted(passages: Any, **options: Any) -> execution.Handled:
        result = handle(passages, **options)
        batches.append(len(passages) - len(result.left))
        return result

    monkeypatch.setattr(execution, "handle", counted)
    monkeypatch.setitem(calling._averages, "slow", 0.0)
    lab.agent("slow", slow)
    workflows = [lab.workflow() for _ in range(3)]
    for _ in range(2):
        for workflow in workflows:
            lab.send(workflow, "slow")
    lab.publish()
    assert lab.work()[Outcome.PROCESSED] == 6
    assert batches == [2, 2, 2]
    assert [lab.ledger.tried(workflow, "slow") for workflow in workflows] == [
        sorted(lab.ledger.tried(workflow, "slow")) for workflow in workflows
    ]
    assert all(len(lab.ledger.handled(workflow, "slow")) == 2 for workflow in workflows)


def test_agents_that_are_known_to_be_slow_get_small_batches(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(calling._averages, "slow", 0.2)
    monkeypatch.setitem(calling._averages, "quick", 0.0)
    sizes = []
    handle = execution.handle

    def counted(passages: Any, **options: Any) -> execution.Handled:
        sizes.append(len(passages))
        return handle(passages, **options)

    monkeypatch.setattr(execution, "handle", counted)
    lab.agent("slow")
    lab.agent("quick")
    for _ in range(3):
        lab.send(lab.workflow(), "slow")
    for _ in range(4):
        lab.send(lab.workflow(), "quick")
    lab.publish()
    assert lab.work()[Outcome.PROCESSED] == 7
    assert len(sizes) >= 3
    assert batch.PORTION_SECONDS < 1


def test_senders_to_other_workflows_do_not_wait_for_a_slow_handler(lab: Lab) -> None:
    """An agent's first message, which may be slow, is handled by itself: it holds its own workflow and no other."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer")
    workflows = [lab.workflow() for _ in range(5)]
    free: list[set[UUID]] = []

    def slow(message: Envelope, context: HandlerContext) -> None:
        def other() -> None:
            try:
                with transaction.atomic():
                    free.append(set(log.lock_workflows(workflows, wait=False)))
            finally:
                connection.close()

        thread = threading.Thread(target=other)
        thread.start()
        thread.join(20)

    calling._averages.pop("slow", None)
    lab.agent("slow", slow)
    lab.agent("quick")
    lab.send(workflows[0], "slow")
    for workflow in workflows[1:]:
        lab.send(workflow, "quick")
    lab.publish()
    lab.work()
    assert free == [set(workflows[1:])]


# --- busy workflows ---


def group_of_a_busy_workflow(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, handler: Handler | None = None, *, stays: bool = False
) -> tuple[UUID, list[tuple[int, bool]]]:
    """A message to a group of six in a workflow that another transaction holds; how often a batch was tried, with how
    many deliveries, and whether it waited.

    Args:
        handler: of all members.
        stays: the workflow stays locked for longer than anybody may wait.
    """
    members = [f"m{number}" for number in range(6)]
    for member in members:
        lab.agent(member, handler)
        monkeypatch.setitem(calling._averages, "board", 0.0)
    lab.bus.create_group("board", members)
    workflow = lab.workflow()
    lab.send(workflow, "board")
    lab.publish()
    open_batch, handle, tried = log.open_batch, execution.handle, []

    def opened(*ids: Any, wait: bool, lock_wait: float) -> log.OpenedBatch:
        if wait and stays:
            raise OperationalError from psycopg.errors.LockNotAvailable()
        found = open_batch(*ids, wait=wait, lock_wait=lock_wait)
        if not wait:
            found.workflows.clear()
        return found

    def counted(passages: Any, *, wait: bool, **options: Any) -> execution.Handled:
        tried.append((len(passages), wait))
        return handle(passages, wait=wait, **options)

    monkeypatch.setattr(log, "open_batch", opened)
    monkeypatch.setattr(execution, "handle", counted)
    return workflow, tried


def test_deliveries_of_a_busy_workflow_are_handled_together(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    workflow, tried = group_of_a_busy_workflow(lab, monkeypatch)
    assert lab.work()[Outcome.PROCESSED] == 6
    assert tried == [(6, False), (6, True)]
    assert lab.all_processed(workflow)


def test_one_that_fails_there_does_not_take_the_others_along(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def one_fails(message: Envelope, context: HandlerContext) -> None:
        if context.agent == "m3":
            raise TerminalError("no")

    workflow, tried = group_of_a_busy_workflow(lab, monkeypatch, one_fails)
    assert lab.work()[Outcome.PROCESSED] == 5
    assert tried == [(6, False), (6, True), (5, True)]
    assert sorted(lab.states(workflow)) == ["dead", *["processed"] * 5]


def test_deliveries_of_a_workflow_that_stays_busy_are_postponed_together(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow, tried = group_of_a_busy_workflow(lab, monkeypatch, stays=True)
    assert lab.work()[Outcome.RETRY] == 6
    assert tried == [(6, False), (6, True)]
    assert set(Delivery.objects.filter(workflow=workflow).values_list("attempts", flat=True)) == {0}


# --- results of leased handlers ---


def test_a_result_whose_workflow_is_busy_waits_without_a_charge(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.agent("slow", leased=True)
    workflow = lab.workflow()
    lab.send(workflow, "slow")
    lab.publish()
    open_batch, busy = log.open_batch, True

    def opened(*ids: Any, wait: bool, lock_wait: float) -> log.OpenedBatch:
        assert not wait, "nobody waits here"
        found = open_batch(*ids, wait=wait, lock_wait=lock_wait)
        if busy:
            found.workflows.clear()
        return found

    lab.consumer.step()
    monkeypatch.setattr(log, "open_batch", opened)
    for _ in range(5):
        lab.consumer._leases.wait(5)
        lab.consumer.step()
    assert lab.states(workflow) == ["leased"]
    busy = False
    lab.work()
    assert lab.states(workflow) == ["processed"]
    assert lab.ledger.tried(workflow, "slow") == [1]
    assert Delivery.objects.get(workflow=workflow).attempts == 1


def test_a_result_that_can_never_be_stored_gives_its_place_back(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.agent("slow", leased=True)
    workflow = lab.workflow()
    lab.send(workflow, "slow")
    lab.publish()
    lab.consumer.step()
    lab.consumer._leases.wait(5)
    with monkeypatch.context() as patch:
        open_batch = log.open_batch
        patch.setattr(log, "open_batch", lambda ids, *more, **how: open_batch([], *more, **how))
        patch.setattr(log, "lock_workflows", lambda ids, *, wait: {})
        for _ in range(runner.MAX_RENEWALS_WITHOUT_WORK + 2):
            lab.clock.advance(11.0)
            lab.consumer.step()
    assert lab.consumer._leases.running == 0
    lab.settle()
    assert lab.states(workflow) == ["processed"]


def test_a_failed_handler_of_a_batch_is_named_not_its_neighbours(lab: Lab) -> None:
    lab.agent("a", raising(lambda: TerminalError("mine")), retry=THREE)
    lab.agent("b", raising(lambda: OperationalError("deadlock detected")), retry=THREE)
    first, second = lab.workflow(), lab.workflow()
    lab.bus.send_many(
        [
            Outgoing(workflow_id=first, source="web", recipient="a", type="test.message", data=None),
            Outgoing(workflow_id=second, source="web", recipient="b", type="test.message", data=None),
        ]
    )
    lab.settle()
    assert "mine" in DeadLetter.objects.get(workflow=first).detail
    assert "deadlock detected" in DeadLetter.objects.get(workflow=second).detail
