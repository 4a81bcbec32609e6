"""Calling a handler in the test's own thread and transaction.

An async handler runs on an event loop of its own in a second thread, while this thread does what needs a database:
``sync_to_async`` (Django's async ORM), ``asyncio.to_thread`` (tools) and what ``messaging`` itself stores. So all of it
sees the test's transaction, which belongs to this thread's connection.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar
from unittest.mock import patch

from asgiref.sync import async_to_sync, sync_to_async

from messaging.api import AgentSpec, HandlerContext, HandlerKind, TransientError
from messaging.extension import database_threads

Value = TypeVar("Value")


class CallersThread(ThreadPoolExecutor):
    """An executor without threads: its work is done by the thread that waits for the loop.

    Args:
        loop: the running one.
        thread: the waiting thread's identity.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: int) -> None:
        super().__init__(1)
        self._loop = loop
        self._thread = thread

    def submit(self, fn: Callable[..., Value], /, *args: Any, **kwargs: Any) -> Future[Value]:
        """Do work in the waiting thread; at once when this is that thread."""
        if threading.get_ident() == self._thread:
            return done(lambda: fn(*args, **kwargs))

        async def hand_over() -> Value:
            return await sync_to_async(fn, thread_sensitive=True)(*args, **kwargs)

        return asyncio.run_coroutine_threadsafe(hand_over(), self._loop)


def done(work: Callable[[], Value]) -> Future[Value]:
    """Do work at once and put what came of it into a future."""
    future: Future[Value] = Future()
    try:
        future.set_result(work())
    except Exception as error:  # noqa: BLE001 - a future holds whatever its work raised
        future.set_exception(error)
    return future


@contextmanager
def storing_here() -> Iterator[None]:
    """Have ``database_threads`` do their work in this thread, on its connection."""
    with patch.object(database_threads, "submit", done):
        yield


def call_handler(spec: AgentSpec, context: HandlerContext) -> Any:
    """Call an agent's handler and wait for it.

    Returns:
        What it returned.

    Raises:
        TransientError: an async handler took longer than its timeout. A sync one cannot be stopped here.
    """
    with storing_here():
        result = spec.handler(context.message, context)
        if spec.kind is HandlerKind.LEASED and inspect.isawaitable(result):
            return async_to_sync(_finish, force_new_loop=True)(result, spec, threading.get_ident())
        return result


async def _finish(result: Awaitable[Any], spec: AgentSpec, thread: int) -> Any:
    loop = asyncio.get_running_loop()
    executor = CallersThread(loop, thread)
    loop.set_default_executor(executor)
    scope = asyncio.timeout(spec.timeout)
    with patch.object(database_threads, "submit", executor.submit):
        try:
            async with scope:
                return await result
        except TimeoutError:
            if scope.expired():
                raise TransientError(f"{spec.name} took longer than its timeout of {spec.timeout:g} s.") from None
            raise
