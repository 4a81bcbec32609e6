"""``context.once``: an effect outside the database is not repeated by a redelivery.

    look the result up ▶ found: return it
                       ▶ not found: call, store the result in a transaction of its own, return it

A process that dies between the call and the store leaves nothing behind, and the call is made again: at most one
repetition a crash. Everything after the store is safe. What is returned has always been through JSON, so the first run
and a redelivery see the same value.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, Protocol
from uuid import UUID

import msgspec

from messaging.core.arguments import check_text
from messaging.core.errors import EnvelopeError, TerminalError
from messaging.core.plain_data import encode_data


class ResultStore(Protocol):
    """Keeps results by (delivery, key).

    ``find`` and ``save`` return at once; their futures hold the stored JSON. ``save`` keeps the first result: saving
    another one returns the first.
    """

    durable: bool
    """Whether results outlive the process."""

    def find(self, delivery_id: UUID, key: str) -> Future[bytes | None]: ...
    def save(self, delivery_id: UUID, key: str, result: bytes) -> Future[bytes]: ...


class MemoryResults:
    """Results in memory, for the in-process mode: they last as long as the process."""

    durable = False

    def __init__(self) -> None:
        self._results: dict[tuple[UUID, str], bytes] = {}

    def find(self, delivery_id: UUID, key: str) -> Future[bytes | None]:
        future: Future[bytes | None] = Future()
        future.set_result(self._results.get((delivery_id, key)))
        return future

    def save(self, delivery_id: UUID, key: str, result: bytes) -> Future[bytes]:
        future: Future[bytes] = Future()
        future.set_result(self._results.setdefault((delivery_id, key), result))
        return future


def call_once(store: ResultStore, delivery_id: UUID, key: str, fn: Callable[[], Any]) -> Any:
    """Return the stored result of ``key``, or call ``fn`` and store what it returns.

    In a running event loop the result is an awaitable, and ``fn`` may return one.

    Raises:
        TerminalError: the key is too long, or what ``fn`` returned is no JSON value.
    """
    try:
        check_text("key", key)
    except EnvelopeError as error:
        raise TerminalError(f"once(): its {error}") from None
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _call(store, delivery_id, key, fn)
    return _call_async(store, delivery_id, key, fn)


def _call(store: ResultStore, delivery_id: UUID, key: str, fn: Callable[[], Any]) -> Any:
    result = store.find(delivery_id, key).result()
    if result is None:
        value = fn()
        if inspect.iscoroutine(value):
            value.close()
            raise TerminalError(f"once({key!r}): an async function needs an async handler, which awaits once().")
        result = store.save(delivery_id, key, _encode(key, value)).result()
    return msgspec.json.decode(result)


async def _call_async(
    store: ResultStore, delivery_id: UUID, key: str, fn: Callable[[], Awaitable[Any]] | Callable[[], Any]
) -> Any:
    result = await asyncio.wrap_future(store.find(delivery_id, key))
    if result is None:
        value = fn()
        if inspect.isawaitable(value):
            value = await value
        # Shielded: a handler that is cancelled now (timeout) must not lose the result of a call that was made.
        result = await asyncio.shield(asyncio.wrap_future(store.save(delivery_id, key, _encode(key, value))))
    return msgspec.json.decode(result)


def _encode(key: str, value: Any) -> bytes:
    try:
        return encode_data(value)
    except EnvelopeError as error:
        raise TerminalError(
            f"once({key!r}): its result is no JSON value: {error}. Return what JSON can hold."
        ) from None
