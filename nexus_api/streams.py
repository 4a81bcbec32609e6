"""Server-sent events: the messages of a workflow as they come, each once, in order.

Under WSGI a stream takes a thread, so their number is bounded (``NEXUS_API_STREAMS``, each process); under ASGI it
takes none while it waits. A stream ends after ``NEXUS_API_STREAM_SECONDS``; its client comes back by itself, with the
number of the last message in ``Last-Event-ID``.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from time import monotonic
from typing import Any, Protocol
from uuid import UUID

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.core.serializers.json import DjangoJSONEncoder
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, StreamingHttpResponse

from messaging.extension import get_settings
from messaging.operating import Message, Workflow
from nexus_api import slots
from nexus_api.callers import Caller
from nexus_api.showing import show_message

LAST_EVENT_ID = "Last-Event-ID"
LOOK_EVERY = 0.5
"""Seconds between two looks at the log."""
HEARTBEAT = 15.0
"""Seconds without a message after which a comment is sent: proxies keep the connection, and a dead one is noticed."""
AT_ONCE = 100
"""Messages that are read at a time."""


class Follower(Protocol):
    """Looks for what is new, and knows when its stream ends."""

    over: bool

    def first(self) -> bytes:
        """What the stream begins with; it asks no database."""

    def look(self) -> bytes:
        """The events that are new; perhaps none."""


class _MessageFollower:
    """Looks for what is new; knows when a stream ends."""

    def __init__(self, caller: Caller, workflow_id: UUID, after: int) -> None:
        self._caller = caller
        self._workflow_id = workflow_id
        self._after = after
        self._began = self._spoke = monotonic()
        self.over = False

    def first(self) -> bytes:
        """What a stream begins with: after how many milliseconds its client comes back."""
        return b"retry: 2000\n\n"

    def look(self) -> bytes:
        """The events that are new; perhaps none."""
        try:
            return self._look()
        except (OperationalError, InterfaceError):  # the client comes back and goes on where it was
            self.over = True
            return b": the database is out of reach\n\n"

    def _look(self) -> bytes:
        if monotonic() - self._began >= get_settings().api_stream_seconds:
            self.over = True
            return b": come back\n\n"
        workflow = Workflow.objects.filter(pk=self._workflow_id).values("status", "ended_at").first()
        rows = Message.objects.filter(workflow=self._workflow_id, sequence__gt=self._after).order_by("sequence")
        found = list(rows[:AT_ONCE])
        if found:
            self._after = found[-1].sequence
            self._spoke = monotonic()
            return b"".join(_event("message", show_message(row), row.sequence) for row in found)
        if workflow is None or workflow["ended_at"] is not None:
            self.over = True
            return _event("end", {"status": workflow["status"] if workflow else "removed"}, self._after)
        if monotonic() - self._spoke >= HEARTBEAT:
            self._spoke = monotonic()
            self.over = not self._caller.still_holds()
            return b": still here\n\n"
        return b""


def _event(name: str, data: dict[str, Any], number: int) -> bytes:
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(data, cls=DjangoJSONEncoder)}\n\n".encode()


def _follow(follower: Follower) -> Iterator[bytes]:
    yield follower.first()
    waiter = threading.Event()
    while not follower.over:
        events = follower.look()
        if events:
            yield events
        else:
            waiter.wait(LOOK_EVERY)


async def _follow_async(follower: Follower) -> AsyncIterator[bytes]:
    yield follower.first()
    while not follower.over:
        events = await sync_to_async(follower.look)()
        if events:
            yield events
        else:
            await asyncio.sleep(LOOK_EVERY)


class EventStream(StreamingHttpResponse):
    """Gives its place back when it is closed, whether it was read or not.

    Args:
        content: the events.
        identity: of the caller whose place it has.
    """

    def __init__(self, content: Iterator[bytes] | AsyncIterator[bytes], identity: str) -> None:
        super().__init__(
            content,
            content_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        self._identity: str | None = identity

    def close(self) -> None:
        """End it; may be called again."""
        identity, self._identity = self._identity, None
        if identity is not None:
            slots.give_back(identity)
        super().close()


def open_stream(request: HttpRequest, identity: str, follower: Follower) -> EventStream:
    """Begin a stream.

    Args:
        request: under WSGI or ASGI.
        identity: of the caller.
        follower: makes the events.

    Raises:
        ApiProblem: 503, there are too many.
    """
    slots.take(identity)
    follow = _follow_async if isinstance(request, ASGIRequest) else _follow
    return EventStream(follow(follower), identity)


def follow_messages(request: HttpRequest, caller: Caller, workflow_id: UUID, after: int) -> EventStream:
    """Begin a stream of a workflow's messages.

    Args:
        request: under WSGI or ASGI.
        caller: who is allowed to see the workflow.
        workflow_id: whose messages.
        after: number of the last message that is known.

    Raises:
        ApiProblem: 503, there are too many.
    """
    return open_stream(request, caller.identity, _MessageFollower(caller, workflow_id, after))
