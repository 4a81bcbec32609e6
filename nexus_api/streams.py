"""Server-sent events: the messages of a workflow as they come, each once, in order.

Under WSGI a stream takes a thread and looks at the log by itself, so their number is bounded (``NEXUS_API_STREAMS``,
each process); under ASGI it holds no database connection, and ``feeds`` looks for all of them. A stream ends after
``NEXUS_API_STREAM_SECONDS``; its client comes back by itself, with the number of the last message in
``Last-Event-ID``.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import monotonic
from typing import Protocol, TypeVar
from uuid import UUID

from django.core.handlers.asgi import ASGIRequest
from django.db import InterfaceError, OperationalError, connection, connections
from django.http import HttpRequest, StreamingHttpResponse

from messaging.extension import get_settings
from messaging.operating import Workflow
from nexus_api.fanout import listen
from nexus_api.feeds import LOOK_EVERY, Teller, WorkflowFeed, event, feeds, read_events
from nexus_api.slots import WAITING, Slots

LAST_EVENT_ID = "Last-Event-ID"
HEARTBEAT = 15.0
"""Seconds without a message after which a comment is sent: proxies keep the connection, and a dead one is noticed."""
READERS = 4
"""Threads, and database connections, that read for streams of this process what is older than they have kept."""
FIRST = b"retry: 2000\n\n"
"""After how many milliseconds a client comes back."""
COME_BACK = b": come back\n\n"
STILL_HERE = b": still here\n\n"
OUT_OF_REACH = b": the database is out of reach\n\n"

_readers = ThreadPoolExecutor(READERS, thread_name_prefix="nexus-stream-reader")
Read = TypeVar("Read")


class Follower(Protocol):
    """Looks for what is new, and knows when its stream ends."""

    over: bool

    def first(self) -> bytes:
        """What the stream begins with; it asks no database."""

    def look(self) -> bytes:
        """The events that are new; perhaps none."""


class _MessageFollower:
    """Looks for a workflow's new messages in a thread of its own."""

    def __init__(self, still_holds: Callable[[], bool], workflow_id: UUID, after: int) -> None:
        self._still_holds = still_holds
        self._workflow_id = workflow_id
        self._after = after
        self._began = self._spoke = monotonic()
        self.over = False

    def first(self) -> bytes:
        """After how many milliseconds its client comes back."""
        return FIRST

    def look(self) -> bytes:
        """The events that are new; perhaps none."""
        try:
            return self._look()
        except (OperationalError, InterfaceError):  # the client comes back and goes on where it was
            self.over = True
            return OUT_OF_REACH

    def _look(self) -> bytes:
        if monotonic() - self._began >= get_settings().api_stream_seconds:
            self.over = True
            return COME_BACK
        workflow = Workflow.objects.filter(pk=self._workflow_id).values("status", "ended_at").first()
        found = read_events(self._workflow_id, self._after)
        if found:
            self._after = found[-1][0]
            self._spoke = monotonic()
            return b"".join(text for _, text in found)
        if workflow is None or workflow["ended_at"] is not None:
            self.over = True
            return event("end", {"status": workflow["status"] if workflow else "removed"}, self._after)
        if monotonic() - self._spoke >= HEARTBEAT:
            self._spoke = monotonic()
            self.over = not self._still_holds()
            return STILL_HERE
        return b""


def _follow(follower: Follower) -> Iterator[bytes]:
    yield follower.first()
    waiter = threading.Event()
    while not follower.over:
        events = follower.look()
        if events:
            yield events
        else:
            waiter.wait(LOOK_EVERY)


async def _in_reader(read: Callable[[], Read]) -> Read:
    def call() -> Read:
        try:
            return read()
        finally:
            connection.close()  # a stream comes here seldom: no connection is kept for it

    return await asyncio.get_running_loop().run_in_executor(_readers, call)


async def _follow_in_reader(follower: Follower) -> AsyncIterator[bytes]:
    yield follower.first()
    while not follower.over:
        events = await _in_reader(follower.look)
        if events:
            yield events
        else:
            await asyncio.sleep(LOOK_EVERY)


async def _follow_async(
    still_holds: Callable[[], bool], workflow_id: UUID, after: int, teller: Teller | None
) -> AsyncIterator[bytes]:
    yield FIRST
    loop, woken = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        with suppress(RuntimeError):  # the loop is closed: the process ends
            loop.call_soon_threadsafe(woken.set)

    began = spoke = monotonic()
    told: bytes | None = None
    with feeds.watch(workflow_id, wake, teller) as feed:
        while monotonic() - began < get_settings().api_stream_seconds:
            woken.clear()
            try:
                found, after = await _behind(feed, after)
                if monotonic() - spoke >= HEARTBEAT:
                    spoke = monotonic()
                    yield STILL_HERE
                    if not await _in_reader(still_holds):
                        return
            except (OperationalError, InterfaceError):  # the client comes back and goes on where it was
                yield OUT_OF_REACH
                return
            if found:
                spoke = monotonic()
                yield b"".join(text for _, text in found)
                continue
            if teller is not None and feed.told.get(teller, told) != told:
                told = feed.told[teller]
                yield told
            if feed.status and feed.known is not None and after >= feed.known:
                yield event("end", {"status": feed.status}, after)
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(woken.wait(), max(0.01, HEARTBEAT - (monotonic() - spoke)))
    yield COME_BACK


async def _behind(feed: WorkflowFeed, after: int) -> tuple[list[tuple[int, bytes]], int]:
    """What is new behind a number, and the number that is known then."""
    known = feed.known or 0
    found = feed.behind(after)
    if found is None:
        found = await _in_reader(lambda: read_events(feed.workflow_id, after))
        after = after if found else known  # retention has removed them
    return found, found[-1][0] if found else after


class EventStream(StreamingHttpResponse):
    """Gives its place back when it is closed, whether it was read or not.

    Args:
        content: the events.
        identity: of the caller whose place it has.
        slots: of which the place is one.
    """

    def __init__(self, content: Iterator[bytes] | AsyncIterator[bytes], identity: str, slots: Slots) -> None:
        super().__init__(
            content,
            content_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        self._identity: str | None = identity
        self._slots = slots

    def close(self) -> None:
        """End it; may be called again."""
        identity, self._identity = self._identity, None
        if identity is not None:
            self._slots.give_back(identity)
        super().close()


def is_asgi(request: HttpRequest) -> bool:
    """Whether the server is asynchronous, so that a stream takes no thread while it waits."""
    return isinstance(request, ASGIRequest)


def open_stream(
    request: HttpRequest,
    workflow_id: UUID,
    after: int,
    *,
    identity: str,
    still_holds: Callable[[], bool],
    slots: Slots,
    teller: Teller | None = None,
) -> EventStream:
    """Begin a stream.

    Args:
        request: under WSGI or ASGI.
        workflow_id: whose messages; the caller was found to be allowed to see them.
        after: number of the last message that is known.
        identity: of the caller.
        still_holds: says, every now and then, whether the caller still may see the workflow.
        slots: where it takes its place.
        teller: of the events ``state``; under ASGI only.

    Raises:
        ApiProblem: 503, there are too many.
    """
    slots.take(identity)
    if not is_asgi(request):
        return EventStream(_follow(_MessageFollower(still_holds, workflow_id, after)), identity, slots)
    listen()
    _let_go_of_connections()
    return EventStream(_follow_async(still_holds, workflow_id, after, teller), identity, slots)


def follow(request: HttpRequest, follower: Follower, *, identity: str) -> EventStream:
    """Begin a stream of what a follower finds.

    Args:
        request: under WSGI or ASGI.
        follower: makes the events.
        identity: of the caller.

    Raises:
        ApiProblem: 503, there are too many.
    """
    WAITING.take(identity)
    if not is_asgi(request):
        return EventStream(_follow(follower), identity, WAITING)
    _let_go_of_connections()
    return EventStream(_follow_in_reader(follower), identity, WAITING)


def _let_go_of_connections() -> None:
    # Each request under ASGI has a thread, and with it connections, to its end: a stream would hold them for minutes.
    for one in connections.all(initialized_only=True):
        if not one.in_atomic_block:
            one.close()
