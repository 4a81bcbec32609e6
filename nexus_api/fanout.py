"""Redis tells web processes in which workflows messages were stored, so that they need not look often by themselves.

Only ids travel, and they are hints: what is lost is found at the next look at the log. Without ``REDIS_URL`` none of
this runs.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Collection
from importlib import import_module
from typing import Any
from uuid import UUID

from django.conf import settings

from nexus_api.feeds import LOOK_EVERY, feeds

logger = logging.getLogger("nexus.api")

CHANNEL = "nexus:stored"
LOOK_EVERY_WITH_REDIS = 2.0
"""Seconds between two looks while Redis tells."""
ANSWER_WITHIN = 0.5
LEAVE_ALONE = 5.0
"""Seconds without asking a Redis that failed."""
MAX_PENDING = 10_000
"""Workflows that wait to be told of; what comes then is found at the next look."""
TOLD_AT_ONCE = 500
ID_BYTES = 16


class Announcer:
    """Tells Redis in a thread of its own: whoever stored a message waits for nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: set[UUID] = set()
        self._woken = threading.Event()
        self._thread: threading.Thread | None = None

    def announce(self, workflows: Collection[UUID]) -> None:
        """Tell of workflows soon."""
        with self._lock:
            if len(self._pending) < MAX_PENDING:
                self._pending.update(workflows)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="nexus-fanout", daemon=True)
                self._thread.start()
        self._woken.set()

    def _run(self) -> None:
        client = _connect()
        waiter = threading.Event()
        while True:
            self._woken.wait()
            self._woken.clear()
            with self._lock:
                told, self._pending = list(self._pending), set()
            try:
                for start in range(0, len(told), TOLD_AT_ONCE):
                    client.publish(CHANNEL, b"".join(one.bytes for one in told[start : start + TOLD_AT_ONCE]))
            except Exception as error:  # noqa: BLE001 - hints only, and Redis may be away in many ways
                logger.warning("Redis is not told of messages: %s", error)
                waiter.wait(LEAVE_ALONE)


class Listener:
    """Hears from Redis in a thread of its own, for the feeds of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen from now on; may be called again."""
        with self._lock:
            if _is_configured() and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._run, name="nexus-fanout-listener", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        waiter = threading.Event()
        while _is_configured():  # a test takes it away again
            try:
                self._listen()
            except Exception as error:  # noqa: BLE001 - the log is looked at more often meanwhile
                logger.warning("Redis does not tell of messages: %s", error)
            feeds.every = LOOK_EVERY
            waiter.wait(LEAVE_ALONE)

    def _listen(self) -> None:
        with _connect().pubsub(ignore_subscribe_messages=True) as channel:
            channel.subscribe(CHANNEL)
            channel.get_message(timeout=ANSWER_WITHIN)
            feeds.every = LOOK_EVERY_WITH_REDIS
            feeds.look_soon()  # what was told before this process listened
            while True:
                message = channel.get_message(timeout=LEAVE_ALONE)
                if message is not None:
                    feeds.look_soon(_read_ids(message["data"]))


def _read_ids(data: bytes) -> set[UUID]:
    whole = len(data) - len(data) % ID_BYTES
    return {UUID(bytes=data[start : start + ID_BYTES]) for start in range(0, whole, ID_BYTES)}


def _is_configured() -> bool:
    return bool(getattr(settings, "REDIS_URL", ""))


def _connect() -> Any:
    return import_module("redis").Redis.from_url(
        settings.REDIS_URL, socket_timeout=ANSWER_WITHIN, socket_connect_timeout=ANSWER_WITHIN
    )


announcer = Announcer()
listener = Listener()


def _begin_anew() -> None:
    """Threads do not live on in a forked process."""
    global announcer, listener
    announcer, listener = Announcer(), Listener()


os.register_at_fork(after_in_child=_begin_anew)


def announce(workflows: Collection[UUID]) -> None:
    """Tell every web process that messages were stored in workflows."""
    announcer.announce(workflows)


def listen() -> None:
    """Have this process hear what others stored."""
    listener.start()
