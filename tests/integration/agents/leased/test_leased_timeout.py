"""Timeouts: an async handler is cancelled; a sync one becomes a stray, which keeps its place and loses its result."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator

import pytest

from messaging.api import Envelope, HandlerContext, RetryPolicy
from messaging.models import DeadLetter, Delivery, Message
from messaging.testing.servers.waiting import wait_until
from tests.integration.agents.leased.conftest import WAIT, Register
from tests.support.lab import Lab

ONCE = RetryPolicy(max_attempts=1, base=0.1, cap=1)


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def work_until_settled(lab: Lab) -> None:
    lab.publish()

    def settled() -> bool:
        lab.consumer.step()
        return not Delivery.objects.filter(state__in=["sent", "leased"]).exists()

    wait_until(settled, WAIT, "everything to be settled")


def test_an_async_handler_is_cancelled(lab: Lab, register: Register) -> None:
    ended: list[str] = []

    async def endless(message: Envelope, context: HandlerContext) -> None:
        context.reply("never stored")
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    register("endless", endless, timeout=0.1, retry=ONCE)
    lab.send(lab.workflow(), "endless")
    work_until_settled(lab)
    assert ended == ["cancelled"]
    assert "endless took longer than its timeout of 0.1 s" in DeadLetter.objects.get().detail
    assert not Message.objects.filter(source="endless").exists()


def test_a_handlers_own_timeout_error_is_its_own(lab: Lab, register: Register) -> None:
    async def raises(message: Envelope, context: HandlerContext) -> None:
        raise TimeoutError("of the handler's own making")

    register("raises", raises, timeout=60, retry=ONCE)
    lab.send(lab.workflow(), "raises")
    work_until_settled(lab)
    assert "of the handler's own making" in DeadLetter.objects.get().detail


def test_a_stray_keeps_its_place_and_its_result_is_refused(
    lab: Lab, register: Register, release: threading.Event
) -> None:
    def stuck(message: Envelope, context: HandlerContext) -> None:
        context.reply("too late")
        assert release.wait(WAIT)

    register("stuck", stuck, timeout=0.1, retry=ONCE)
    before = lab.consumer._leases.free
    for _ in range(2):
        lab.send(lab.workflow(), "stuck")
    work_until_settled(lab)
    assert DeadLetter.objects.filter(detail__contains="its timeout of 0.1 s").count() == 2
    assert lab.consumer._leases.free == before - 2, "the threads are accounted for"
    assert lab.consumer._leases.running == 0
    release.set()
    wait_until(lambda: lab.consumer._leases.free == before, WAIT, "the strays to end")
    lab.consumer.step()
    assert not Message.objects.filter(source="stuck").exists()


def test_a_stray_counts_for_its_agents_concurrency(lab: Lab, register: Register, release: threading.Event) -> None:
    started: list[int] = []

    def stuck(message: Envelope, context: HandlerContext) -> None:
        started.append(message.data)
        assert release.wait(WAIT)

    register("stuck", stuck, timeout=0.1, concurrency=1, retry=ONCE)
    lab.send(lab.workflow(), "stuck", 1)
    work_until_settled(lab)
    lab.send(lab.workflow(), "stuck", 2)
    lab.publish()
    lab.work(2)
    assert started == [1]
    assert Delivery.objects.filter(state="held").count() == 1


def test_a_handler_that_wants_to_end_the_process_ends_only_itself(lab: Lab, register: Register) -> None:
    async def exits(message: Envelope, context: HandlerContext) -> None:
        sys.exit("enough")

    async def works(message: Envelope, context: HandlerContext) -> None:
        await asyncio.sleep(0)
        context.state["done"] = True

    register("exits", exits, retry=ONCE)
    register("exits-too", lambda message, context: sys.exit("enough"), retry=ONCE)
    register("works", works)
    for agent in ("exits", "exits-too", "works"):
        lab.send(lab.workflow(), agent)
    work_until_settled(lab)
    assert sorted(DeadLetter.objects.values_list("agent", flat=True)) == ["exits", "exits-too"]
    assert Delivery.objects.get(agent="works").state == "processed"


def test_the_deadline_is_what_ends_first(lab: Lab, register: Register) -> None:
    seen: list[float | None] = []

    async def look(message: Envelope, context: HandlerContext) -> None:
        seen.append(context.time_left)

    register("timed", look, timeout=50)
    register("untimed", look)
    lab.send(lab.workflow(deadline=100), "timed")
    lab.send(lab.workflow(deadline=100), "untimed")
    lab.send(lab.workflow(deadline=100), "untimed", expires_in=20)
    lab.send(lab.workflow(), "untimed")
    lab.settle()
    ends = sorted(round(left, -1) for left in seen if left is not None)
    assert ends == [20, 50, 100]
    assert seen.count(None) == 1
