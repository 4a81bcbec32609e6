"""What is new in workflows, looked up once in this process for all who watch them.

One thread looks at the numbers of all watched workflows in one query, reads what is new once and hands it to every
watcher. A watcher that lacks older messages reads these by itself. Nobody watches: the thread ends.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db import InterfaceError, OperationalError, connection

from messaging.operating import Message, Workflow
from nexus_api.showing import show_message

logger = logging.getLogger("nexus.api")

LOOK_EVERY = 0.5
"""Seconds between two looks at the log."""
LOOK_AGAIN_AFTER = 0.05
"""Seconds between two looks at least, however often the thread is woken."""
AT_ONCE = 100
"""Messages that are read at a time."""
KEPT = 200
"""Events of each workflow that are kept for its watchers."""
ASKED_AT_ONCE = 500
"""Workflows in one query."""

Teller = Callable[[Collection[UUID]], Mapping[UUID, dict[str, Any]]]
"""Says how workflows stand besides their messages, as JSON has it."""


def event(name: str, data: object, number: int | None = None) -> bytes:
    """A server-sent event; without a number its client's ``Last-Event-ID`` stays as it is."""
    identity = "" if number is None else f"id: {number}\n"
    return f"{identity}event: {name}\ndata: {json.dumps(data, cls=DjangoJSONEncoder)}\n\n".encode()


def read_events(workflow_id: UUID, after: int) -> list[tuple[int, bytes]]:
    """The next messages behind a number as (number, event), at most ``AT_ONCE``."""
    return [(row.sequence, event("message", show_message(row), row.sequence)) for row in read_after(workflow_id, after)]


def read_after(workflow_id: UUID, after: int) -> list[Message]:
    """The next messages behind a number, at most ``AT_ONCE``."""
    rows = Message.objects.filter(workflow=workflow_id, sequence__gt=after).order_by("sequence")
    return list(rows[:AT_ONCE])


@dataclass(slots=True, eq=False)
class Watcher:
    """One who watches a workflow.

    Args:
        feed: of the workflow.
        wake: called from another thread when there is something new.
        teller: says how the workflow stands; None for one who watches its messages only.
    """

    feed: WorkflowFeed
    wake: Callable[[], None]
    teller: Teller | None = None


@dataclass(slots=True, eq=False)
class WorkflowFeed:
    """What is known of one workflow. Only the looking thread changes it; the others read.

    Args:
        workflow_id: of the workflow.
        known: number of the last message that was seen; None before the first look.
        events: the last messages as (number, event), without a hole.
        status: how it ended; empty while it goes on.
        told: teller → how the workflow stands, as an event.
    """

    workflow_id: UUID
    known: int | None = None
    events: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=KEPT))
    status: str = ""
    told: dict[Teller, bytes] = field(default_factory=dict)
    watchers: set[Watcher] = field(default_factory=set)

    def behind(self, after: int) -> list[tuple[int, bytes]] | None:
        """The events behind a number; None where older ones must be read first."""
        if self.known is None or after >= self.known:
            return []
        kept = list(self.events)
        if not kept or kept[0][0] > after + 1:
            return None
        return [one for one in kept if one[0] > after]


class Feeds:
    """The watched workflows of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._feeds: dict[UUID, WorkflowFeed] = {}
        self._thread: threading.Thread | None = None
        self._woken = threading.Event()
        self.looks = 0
        self.every = LOOK_EVERY

    @contextmanager
    def watch(
        self, workflow_id: UUID, wake: Callable[[], None], teller: Teller | None = None
    ) -> Iterator[WorkflowFeed]:
        """Watch a workflow within. See ``Watcher``."""
        with self._lock:
            feed = self._feeds.setdefault(workflow_id, WorkflowFeed(workflow_id))
            watcher = Watcher(feed, wake, teller)
            feed.watchers.add(watcher)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="nexus-feeds", daemon=True)
                self._thread.start()
        self.look_soon()
        try:
            yield feed
        finally:
            with self._lock:
                feed.watchers.discard(watcher)
                if not feed.watchers and self._feeds.get(workflow_id) is feed:
                    del self._feeds[workflow_id]

    def look_soon(self, workflows: Collection[UUID] | None = None) -> None:
        """Have the thread look now rather than at its next time.

        Args:
            workflows: in which something is new; None where nobody knows.
        """
        if workflows is None or not self._feeds.keys().isdisjoint(workflows):
            self._woken.set()

    def _run(self) -> None:
        waiter = threading.Event()
        try:
            while True:
                with self._lock:
                    feeds = list(self._feeds.values())
                    if not feeds:
                        self._thread = None
                        return
                began = monotonic()
                again = self._look_safely(feeds)
                waiter.wait(max(0.0, LOOK_AGAIN_AFTER - (monotonic() - began)))
                if not again:
                    self._woken.wait(self.every)
                self._woken.clear()
        finally:
            connection.close()

    def _look_safely(self, feeds: Collection[WorkflowFeed]) -> bool:
        try:
            return self._look(feeds)
        except (OperationalError, InterfaceError) as error:  # it restarts, perhaps: the watchers wait on
            logger.warning("Watched workflows cannot be read: %s", str(error).strip())
            connection.close()
        except Exception:  # this thread serves everybody: one workflow must not end it
            logger.exception("Looking at watched workflows failed.")
            connection.close()
        return False

    def _look(self, feeds: Collection[WorkflowFeed]) -> bool:
        """Look once at all of them. Return whether there is more to read at once."""
        self.looks += 1
        by_id = {feed.workflow_id: feed for feed in feeds}
        ids = list(by_id)
        again = False
        for start in range(0, len(ids), ASKED_AT_ONCE):
            some = ids[start : start + ASKED_AT_ONCE]
            changed = self._tell([by_id[one] for one in some])
            columns = ("pk", "sequence", "status", "ended_at")
            rows = {row[0]: row[1:] for row in Workflow.objects.filter(pk__in=some).values_list(*columns)}
            for one in some:
                sequence, status, ended = rows.get(one, (by_id[one].known or 0, "removed", True))
                if self._advance(by_id[one], sequence, status if ended else ""):
                    changed.add(by_id[one])
                again |= (by_id[one].known or 0) < sequence
            for feed in changed:
                for watcher in tuple(feed.watchers):
                    watcher.wake()
        return again

    def _advance(self, feed: WorkflowFeed, sequence: int, status: str) -> bool:
        """Read what is new in a workflow. Return whether anything is."""
        changed = feed.known is None or status != feed.status
        if feed.known is None:
            feed.known = sequence  # who lacks what was before reads it by itself
        elif sequence > feed.known:
            found = read_events(feed.workflow_id, feed.known)
            feed.events.extend(found)
            feed.known = found[-1][0] if found else sequence
            changed = True
        feed.status = status
        return changed

    def _tell(self, feeds: Collection[WorkflowFeed]) -> set[WorkflowFeed]:
        """Ask each teller once for all. Return the feeds that stand otherwise than before."""
        asked: dict[Teller, list[WorkflowFeed]] = {}
        with self._lock:
            for feed in feeds:
                for teller in {watcher.teller for watcher in feed.watchers}:
                    if teller is not None:
                        asked.setdefault(teller, []).append(feed)
        changed = set()
        for teller, some in asked.items():
            told = teller([feed.workflow_id for feed in some])
            for feed in some:
                now = event("state", told.get(feed.workflow_id, {}))
                if feed.told.get(teller) != now:
                    feed.told[teller] = now
                    changed.add(feed)
        return changed


feeds = Feeds()
"""Those of this process."""
