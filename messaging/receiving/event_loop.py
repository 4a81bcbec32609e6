"""What the leased handlers of a process share: one event loop, and a few threads for what they store."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from django.db import close_old_connections, connection

from messaging.core.errors import TransientError

Value = TypeVar("Value")

DATABASE_THREADS = 4
START_TIMEOUT = 10.0


class HandlerLoop:
    """One event loop in a thread of its own, on which every async handler of the process runs.

    It starts at first use, and again in a forked child.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def submit(self, coroutine: Coroutine[Any, Any, Value]) -> Future[Value]:
        """Run a coroutine on the loop. Cancelling the future cancels the coroutine."""
        return asyncio.run_coroutine_threadsafe(_contain_exit(coroutine), self._running())

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._pid != os.getpid() or self._loop.is_closed():
                loop, started = asyncio.new_event_loop(), threading.Event()
                loop.call_soon(started.set)
                threading.Thread(target=_run, args=(loop,), name="nexus-handlers", daemon=True).start()
                started.wait(START_TIMEOUT)
                self._loop, self._pid = loop, os.getpid()
            return self._loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()


async def _contain_exit(coroutine: Coroutine[Any, Any, Value]) -> Value:
    """A handler that calls ``sys.exit`` must not end the loop that all handlers share."""
    try:
        return await coroutine
    except (SystemExit, KeyboardInterrupt) as error:
        raise TransientError(f"The handler tried to end its process: {error!r}") from error


class DatabaseThreads:
    """A few threads with database connections of their own.

    Hundreds of handlers that each opened a connection would use up the database's; what they store goes through these.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0
        self._executor: ThreadPoolExecutor | None = None

    def submit(self, work: Callable[[], Value]) -> Future[Value]:
        """Run database work in one of the threads."""
        with self._lock:
            if self._executor is None or self._pid != os.getpid():
                self._executor = ThreadPoolExecutor(DATABASE_THREADS, thread_name_prefix="nexus-results")
                self._pid = os.getpid()
            return self._executor.submit(_on_own_connection, work)

    def close(self) -> None:
        """Close the threads' connections, after what is under way."""
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is None or self._pid != os.getpid():
            return
        barrier = threading.Barrier(DATABASE_THREADS)
        for _ in range(DATABASE_THREADS):
            executor.submit(_close_connection, barrier)
        executor.shutdown(wait=True)


def _on_own_connection(work: Callable[[], Value]) -> Value:
    close_old_connections()
    try:
        return work()
    except Exception:
        if not connection.in_atomic_block and connection.connection is not None and not connection.is_usable():
            connection.close()
        raise


def _close_connection(barrier: threading.Barrier) -> None:
    try:
        barrier.wait(1.0)
    except threading.BrokenBarrierError:
        pass
    finally:
        connection.close()


handler_loop = HandlerLoop()
database_threads = DatabaseThreads()
