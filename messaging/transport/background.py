"""The publisher thread of a process that sends but does not consume, such as a web server.

A request that sends never waits for the broker: after its commit it leaves the rows here and returns. The queue is
bounded; what finds it full stays PENDING in the log and the relay publishes it. Neither does a burst wait for the
confirms of the one before it.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import threading
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic

from django.db import connection

from messaging.conf import get_settings
from messaging.log import StoredDelivery
from messaging.transport.current import get_broker
from messaging.transport.muting import may_publish
from messaging.transport.publisher import Publisher, broker_breaker
from messaging.transport.window import PublishingWindow

logger = logging.getLogger("nexus.publisher")

BURST = 500
IDLE_WAIT = 0.5
CONFIRM_WAIT = 0.02  # how long the next burst is waited for before confirms are looked at
MARK_EVERY = 0.5  # most are handled by then, and need no mark; below NEXUS_PUBLISH_GRACE
KEEP_CONNECTION = 5.0  # seconds without work, after which the session is given back to the database


class BackgroundPublisher:
    """A thread that publishes what ``offer`` leaves. It starts at the first offer and again after a fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._queue: queue.Queue[StoredDelivery | None] = queue.Queue(get_settings().publish_queue)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._busy_at = monotonic()

    def offer(self, deliveries: Sequence[StoredDelivery]) -> None:
        """Leave deliveries to be published soon, or to the relay while the broker is known to fail. Returns at once.

        In a process that runs tests nothing is published (see ``transport.muting``).
        """
        if not may_publish() or broker_breaker().refuses:
            return
        with self._lock:
            if self._pid != os.getpid():
                self._reset()
            if self._thread is None or not self._thread.is_alive():
                self._stopping.clear()
                self._thread = threading.Thread(target=self._run, name="nexus-publisher", daemon=True)
                self._thread.start()
        for index, stored in enumerate(deliveries):
            try:
                self._queue.put_nowait(stored)
            except queue.Full:
                logger.warning("The publisher's queue is full; the relay takes %d deliveries.", len(deliveries) - index)
                return

    def flush(self, timeout: float) -> bool:
        """Wait until everything offered was published and marked, or failed. False when the timeout passed first."""
        waiting = self._queue
        self._wake()
        with waiting.all_tasks_done:
            return waiting.all_tasks_done.wait_for(lambda: waiting.unfinished_tasks == 0, timeout)

    def close(self, timeout: float = 2.0) -> None:
        """Publish what is left, at most ``timeout`` seconds, and end the thread."""
        thread = self._thread
        if thread is None or self._pid != os.getpid():
            return
        self.flush(timeout)
        self._stopping.set()
        self._wake()
        thread.join(timeout)

    def _wake(self) -> None:
        """Have the thread wait for confirms and mark them now: somebody waits for it."""
        if self._thread is not None and self._thread.is_alive():
            with suppress(queue.Full):  # then it is awake
                self._queue.put_nowait(None)

    def _run(self) -> None:
        window = PublishingWindow(Publisher(get_broker(), mark_every=MARK_EVERY), get_settings().publish_timeout)
        try:
            while not self._stopping.is_set():
                taken = self._take(IDLE_WAIT if window.idle else CONFIRM_WAIT)
                burst = [stored for stored in taken if stored is not None]
                done = len(taken) - len(burst)
                try:
                    if burst:
                        window.write(burst)
                    done += window.collect(wait=len(burst) < len(taken))
                except Exception:  # the thread must outlive any failure: the rows are safe, the relay takes them
                    logger.exception("Publishing failed; the relay takes over.")
                    done += window.give_up()
                    connection.close()
                for _ in range(done):
                    self._queue.task_done()
        finally:
            get_broker().close()
            connection.close()

    def _take(self, wait: float) -> list[StoredDelivery | None]:
        try:
            burst = [self._queue.get(timeout=wait)]
        except queue.Empty:
            if connection.connection is not None and monotonic() - self._busy_at > KEEP_CONNECTION:
                connection.close()
            return []
        self._busy_at = monotonic()
        deadline = monotonic() + 0.05
        while len(burst) < BURST and monotonic() < deadline:
            try:
                burst.append(self._queue.get_nowait())
            except queue.Empty:
                break
        return burst


_publisher: BackgroundPublisher | None = None
_create = threading.Lock()


def background_publisher() -> BackgroundPublisher:
    """The one of this process."""
    global _publisher
    with _create:
        if _publisher is None:
            _publisher = BackgroundPublisher()
            atexit.register(_publisher.close)
        return _publisher
