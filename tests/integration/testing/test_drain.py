"""``drain``: everything pending is handled in the test's own transaction and thread."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from messaging.api import (
    Envelope,
    HandlerContext,
    HandlerKind,
    ReliableCommunicationBus,
    RetryPolicy,
    TerminalError,
    TransientError,
)
from messaging.core.outcome import Outcome
from messaging.core.registry import WORKER_KINDS
from messaging.models import DeadLetter, Delivery, Workflow, WorkflowStatus
from messaging.testing import DrainLimit, UnexpectedDeadLetter, drain, sent, stand_in

LEASED = HandlerKind.LEASED
KINDS = WORKER_KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_everything_is_handled_in_order_and_so_is_what_that_sends(
    bus: ReliableCommunicationBus, workflow: UUID, kind: HandlerKind
) -> None:
    def relay(message: Envelope, context: HandlerContext) -> None:
        Group.objects.create(name=f"row {message.data}")
        context.state["seen"] = [*context.state.get("seen", []), message.data]
        context.send("last", "test.seen", context.state["seen"])

    with stand_in("relay", relay, kind=kind) as relayed, stand_in("last") as last:
        for number in range(3):
            bus.send(workflow, "relay", "test.number", number, sender="web")
        report = drain()
    assert [message.data for message in relayed] == [0, 1, 2]
    assert [message.data for message in last] == [[0], [0, 1], [0, 1, 2]]
    assert len(report.processed) == len(report.handlings) == 6
    assert not report.waiting
    assert Group.objects.filter(name__startswith="row").count() == 3
    assert connection.in_atomic_block  # nothing was committed


@pytest.mark.parametrize("kind", KINDS)
def test_retries_take_no_time_and_are_reported(
    bus: ReliableCommunicationBus, workflow: UUID, kind: HandlerKind
) -> None:
    attempts, times = [], []

    def flaky(message: Envelope, context: HandlerContext) -> None:
        attempts.append(context.attempt)
        times.append(timezone.now())
        if message.type == "test.message" and context.attempt < 3:
            raise TransientError("not yet", retry_after=3_600)

    with stand_in("flaky", flaky, kind=kind, retry=RetryPolicy(max_attempts=3, base=1, cap=1)):
        bus.send(workflow, "flaky", "test.message", sender="web")
        bus.send(workflow, "flaky", "test.next", sender="web")
        report = drain()
    assert attempts == [1, 2, 3, 1]
    assert [handling.outcome for handling in report.handlings] == [
        Outcome.RETRY,
        Outcome.RETRY,
        Outcome.PROCESSED,
        Outcome.PROCESSED,
    ]
    assert "not yet" in report.retries[0].error
    assert times[2] - times[0] > timedelta(hours=2, seconds=-10)
    assert 7_190 < report.skipped <= 7_200
    assert timezone.now() < times[1]  # the real time is back


@pytest.mark.parametrize("kind", KINDS)
def test_a_dead_letter_fails_the_test_and_shows_where_the_handler_failed(
    bus: ReliableCommunicationBus, workflow: UUID, kind: HandlerKind
) -> None:
    def broken(message: Envelope, context: HandlerContext) -> None:
        raise ZeroDivisionError("of ours")

    with stand_in("broken", broken, kind=kind, retry=RetryPolicy(max_attempts=2, base=1, cap=1)):
        bus.send(workflow, "broken", "test.message", {"a": 1}, sender="web")
        with pytest.raises(UnexpectedDeadLetter, match=r"in broken(.|\n)*of ours") as caught:
            drain()
    assert [handling.attempt for handling in caught.value.report.handlings] == [1, 2]
    assert isinstance(caught.value, AssertionError)


@pytest.mark.parametrize("kind", KINDS)
def test_an_expected_dead_letter_is_reported_with_what_waits_behind_it(
    bus: ReliableCommunicationBus, workflow: UUID, kind: HandlerKind
) -> None:
    def broken(message: Envelope, context: HandlerContext) -> None:
        raise TerminalError("never")

    with stand_in("broken", broken, kind=kind):
        bus.send(workflow, "broken", "test.first", sender="web")
        bus.send(workflow, "broken", "test.second", sender="web")
        report = drain(allow_dead_letters=True)
    assert [handling.message.type for handling in report.dead_letters] == ["test.first"]
    assert len(report.waiting) == 1
    assert "its workflow is parked" in report.waiting[0]
    assert DeadLetter.objects.get().message_type == "test.first"
    assert not drain().handlings


def test_the_handler_is_called_once_for_each_attempt(bus: ReliableCommunicationBus, workflow: UUID) -> None:
    def broken(message: Envelope, context: HandlerContext) -> None:
        raise ValueError(message.data)

    with stand_in("broken", broken, retry=RetryPolicy(max_attempts=3, base=1, cap=1)) as calls:
        bus.send(workflow, "broken", "test.message", sender="web")
        drain(allow_dead_letters=True)
    assert len(calls) == 3


def test_agents_that_answer_each_other_for_ever_meet_a_limit(bus: ReliableCommunicationBus, workflow: UUID) -> None:
    def answer(message: Envelope, context: HandlerContext) -> None:
        context.send("pong" if context.agent == "ping" else "ping", "test.ball")

    with stand_in("ping", answer), stand_in("pong", answer):
        bus.send(workflow, "ping", "test.ball", sender="web")
        with pytest.raises(DrainLimit, match="after 20 attempts"):
            drain(limit=20)
        assert len(sent(type="test.ball")) == 21


def test_an_async_handler_sees_the_tests_transaction(bus: ReliableCommunicationBus, workflow: UUID) -> None:
    Group.objects.create(name="of the test")
    threads: set[int] = set()

    def in_database() -> int:
        threads.add(threading.get_ident())
        return Group.objects.filter(name__startswith="of the").count()

    async def work(message: Envelope, context: HandlerContext) -> None:
        await asyncio.sleep(0)
        found = await Group.objects.aget(name="of the test")
        await Group.objects.acreate(name="of the handler")
        counts = [await sync_to_async(in_database)(), await asyncio.to_thread(in_database)]

        async def paid() -> int:
            return counts[0]

        kept = await context.once("paid", paid)
        context.reply({"name": found.name, "counts": counts, "kept": kept})

    with stand_in("worker", work, kind=LEASED):
        bus.send(workflow, "worker", "test.work", sender="web")
        drain()
    assert sent(type="test.work.reply")[0].data == {"name": "of the test", "counts": [2, 2], "kept": 2}
    assert Group.objects.filter(name="of the handler").exists()
    assert threads == {threading.get_ident()}


def test_an_async_handler_is_stopped_at_its_timeout(bus: ReliableCommunicationBus, workflow: UUID) -> None:
    async def slow(message: Envelope, context: HandlerContext) -> None:
        if context.attempt == 1:
            await asyncio.Event().wait()

    with stand_in("slow", slow, kind=LEASED, timeout=0.05):
        bus.send(workflow, "slow", "test.message", sender="web")
        report = drain()
    assert "longer than its timeout of 0.05 s" in report.retries[0].error
    assert len(report.processed) == 1


def test_once_is_kept_over_the_attempts_of_a_leased_handler(bus: ReliableCommunicationBus, workflow: UUID) -> None:
    calls = []

    def work(message: Envelope, context: HandlerContext) -> None:
        context.once("call", lambda: calls.append(1))
        if context.attempt < 2:
            raise ValueError

    with stand_in("worker", work, kind=LEASED):
        bus.send(workflow, "worker", "test.work", sender="web")
        drain()
    assert calls == [1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_database_error_in_a_handler_leaves_the_tests_transaction_usable(
    bus: ReliableCommunicationBus, workflow: UUID, kind: HandlerKind
) -> None:
    Group.objects.create(name="taken")

    def work(message: Envelope, context: HandlerContext) -> None:
        if context.attempt == 1:
            Group.objects.create(name="taken")

    with stand_in("worker", work, kind=kind):
        bus.send(workflow, "worker", "test.work", sender="web")
        report = drain()
    assert "IntegrityError" in report.retries[0].error or "UNIQUE" in report.retries[0].error
    assert len(report.processed) == 1
    assert Group.objects.filter(name="taken").count() == 1


def test_a_leased_handler_that_swallows_a_database_error_is_told_what_to_do(
    bus: ReliableCommunicationBus, workflow: UUID
) -> None:
    Group.objects.create(name="taken")

    def careless(message: Envelope, context: HandlerContext) -> None:
        try:
            Group.objects.create(name="taken")
        except IntegrityError:
            return

    def careful(message: Envelope, context: HandlerContext) -> None:
        try:
            with transaction.atomic(durable=True):  # leased handlers have no transaction around them
                Group.objects.create(name="taken")
        except IntegrityError:
            return

    with stand_in("careful", careful, kind=LEASED):
        bus.send(workflow, "careful", "test.work", sender="web")
        assert len(drain().processed) == 1
    with stand_in("careless", careless, kind=LEASED):
        bus.send(workflow, "careless", "test.work", sender="web")
        with pytest.raises(UnexpectedDeadLetter, match="met a database error and went on"):
            drain()


def test_what_a_leased_handler_wrote_before_it_failed_stays(bus: ReliableCommunicationBus, workflow: UUID) -> None:
    def work(message: Envelope, context: HandlerContext) -> None:
        Group.objects.create(name=f"attempt {context.attempt}")
        if context.attempt == 1:
            raise ValueError

    with stand_in("worker", work, kind=LEASED):
        bus.send(workflow, "worker", "test.work", sender="web")
        drain()
    assert Group.objects.filter(name__startswith="attempt").count() == 2


def test_a_rate_limit_is_kept_by_skipping_time(bus: ReliableCommunicationBus, workflow: UUID) -> None:
    times = []
    with stand_in("limited", lambda *_: times.append(timezone.now()), kind=LEASED, rate=0.01, concurrency=1):
        for _ in range(3):
            bus.send(workflow, "limited", "test.work", sender="web")
        report = drain()
    assert len(report.processed) == len(report.handlings) == 3
    assert times[2] - times[0] >= timedelta(seconds=199)


def test_what_stands_still_is_named_and_does_not_hang(bus: ReliableCommunicationBus, workflow: UUID) -> None:
    other = bus.start_workflow("other")
    with stand_in("worker") as got:
        bus.send(workflow, "worker", "test.work", sender="web")
        bus.send(other, "worker", "test.work", sender="web")
        bus.pause_workflow(workflow, "lunch")
        report = drain()
        assert [message.workflow_id for message in got] == [other]
        assert report.waiting == ["worker #1: pending: its workflow is paused (lunch)"]
        bus.resume_workflow(workflow)
        assert len(drain().processed) == 1


def test_a_workflows_deadline_comes_when_time_is_said_to_pass(bus: ReliableCommunicationBus) -> None:
    workflow = bus.start_workflow("short", deadline=60)
    with stand_in("worker") as got:
        bus.send(workflow, "worker", "test.work", sender="web")
        drain(later=61)
    assert not got
    assert Workflow.objects.get(pk=workflow).status == WorkflowStatus.EXPIRED


def test_an_agent_that_nobody_has_becomes_a_dead_letter(bus: ReliableCommunicationBus, workflow: UUID) -> None:
    with stand_in("gone"):
        bus.send(workflow, "gone", "test.work", sender="web")
    report = drain(allow_dead_letters=True)
    assert "has no agent 'gone'" in report.dead_letters[0].error


def test_a_handler_that_ends_its_workflow(bus: ReliableCommunicationBus, workflow: UUID) -> None:
    def end(message: Envelope, context: HandlerContext) -> Any:
        bus.complete_workflow(context.workflow_id)

    with stand_in("worker", end) as got:
        bus.send(workflow, "worker", "test.work", sender="web")
        bus.send(workflow, "worker", "test.work", sender="web")
        report = drain()
    assert len(got) == 1
    assert not report.waiting
    assert set(Delivery.objects.values_list("state", flat=True)) <= {"processed", "cancelled"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", KINDS)
def test_drain_works_where_commits_are_real(kind: HandlerKind) -> None:
    bus = ReliableCommunicationBus()
    bus.register_agent("web")
    with stand_in("worker", lambda _, context: context.reply("done"), kind=kind):
        bus.send(bus.start_workflow("test"), "worker", "test.work", sender="web")
        drain()
    assert sent(type="test.work.reply", recipient="web")[0].data == "done"
