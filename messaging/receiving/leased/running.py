"""Running leased handlers: sync ones in threads, async ones on the process's event loop, each with its timeout.

Nothing here touches the database. A sync handler cannot be stopped; one that passes its timeout becomes a *stray*: its
result is refused, and it goes on counting as running until its thread is done with it, so that strays never pile up
unseen.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any
from uuid import UUID

from django.db import connections

from messaging.core.context import HandlerContext
from messaging.core.describing import safe_repr
from messaging.core.errors import NexusError, TransientError
from messaging.core.registry import AgentSpec
from messaging.core.returned import warn_of_returned
from messaging.receiving.event_loop import handler_loop
from messaging.receiving.handlers import StoredResults, find_handler, make_context
from messaging.receiving.ordering import Ready
from messaging.security.labels.handling import handling
from messaging.workflows.noticing import Noticed, noticing

logger = logging.getLogger("nexus.receiving")

ASYNC_GRACE = 1.0
"""Seconds that an async handler may take to end after it was cancelled, before it counts as a stray."""


@dataclass(frozen=True, slots=True)
class HandlerResult:
    """What a handler that succeeded left.

    Args:
        context: with what it sends and its state.
        changed_workflows: workflows whose status it changed itself.
    """

    context: HandlerContext
    changed_workflows: frozenset[UUID]


@dataclass(slots=True)
class Lease:
    """A claimed delivery while its handler runs.

    Args:
        ready: the delivery.
        token: fences its result.
        future: the handler's end; what it left when it succeeded.
        expires: when (``monotonic``) the handler counts as a stray; None without a timeout.
        renewals: how often the lease was renewed after the handler's end.
    """

    ready: Ready
    token: UUID
    future: Future[HandlerResult]
    expires: float | None
    renewals: int = 0

    def outcome(self) -> HandlerResult | Exception:
        """What the handler left, or why it failed. Call it when the future is done."""
        try:
            error = self.future.exception()
        except CancelledError:
            return TransientError("The handler was cancelled.")
        if error is None:
            return self.future.result()
        if isinstance(error, Exception):
            return error
        return TransientError(f"The handler raised {safe_repr(error)}.")


def timeout_error(agent: str, timeout: float | None) -> TransientError:
    """Why a handler that took too long failed."""
    return TransientError(f"{agent} took longer than its timeout of {timeout:g} s; its result is not stored.")


class HandlerRunner:
    """Runs leased handlers of one consumer.

    Args:
        concurrency: handlers at once, strays among them.
    """

    def __init__(self, concurrency: int) -> None:
        self._executor = ThreadPoolExecutor(concurrency, thread_name_prefix="nexus-leased")
        self._strays: list[tuple[str, Future[HandlerResult]]] = []

    @property
    def strays(self) -> Counter[str]:
        """How many handlers run on after their timeout, by agent."""
        self._strays = [(agent, future) for agent, future in self._strays if not future.done()]
        return Counter(agent for agent, _ in self._strays)

    def start(self, ready: Ready, token: UUID, state: dict[str, Any], now: datetime) -> Lease:
        """Start the handler of a claimed delivery. What goes wrong here is the handler's failure."""
        try:
            spec = find_handler(ready.row.agent, ready.passage.envelope)
            context = make_context(spec, ready, now, load_state=lambda: state, results=StoredResults())
            expires = None if spec.timeout is None else monotonic() + spec.timeout
            if _is_async(spec.handler):
                future = handler_loop.submit(_call_async(spec, context))
                return Lease(ready, token, future, expires and expires + ASYNC_GRACE)
            return Lease(ready, token, self._executor.submit(_call, spec, context), expires)
        except (NexusError, RuntimeError) as error:  # RuntimeError: the process is ending and takes no more work
            failed: Future[HandlerResult] = Future()
            failed.set_exception(error)
            return Lease(ready, token, failed, None)

    def abandon(self, lease: Lease) -> None:
        """Give up a handler that passed its timeout and does not end."""
        lease.future.cancel()
        if not lease.future.done():
            agent = lease.ready.row.agent
            self._strays.append((agent, lease.future))
            logger.error(
                "A handler of %s runs on after its timeout; it keeps its place until it ends (%d such here).",
                agent,
                len(self._strays),
            )

    def close(self) -> None:
        """Take no more work. Handlers that still run are left to the end of the process."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _is_async(handler: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(getattr(handler, "__call__", None))  # noqa: B004


def _call(spec: AgentSpec, context: HandlerContext) -> HandlerResult:
    noticed = Noticed()
    try:
        with noticing(noticed), handling(context):
            result = spec.handler(context.message, context)
            if inspect.iscoroutine(result):
                result = handler_loop.submit(result).result()
            warn_of_returned(spec.name, result)
    finally:
        # Not kept for the next handler: hundreds of threads with a connection each would use up the database's.
        connections.close_all()
    return HandlerResult(context, frozenset(noticed.status_changed))


async def _call_async(spec: AgentSpec, context: HandlerContext) -> HandlerResult:
    noticed = Noticed()
    scope = asyncio.timeout(spec.timeout)
    try:
        with noticing(noticed), handling(context):
            answer: Awaitable[Any] = spec.handler(context.message, context)
            async with scope:
                warn_of_returned(spec.name, await answer)
    except TimeoutError:
        if scope.expired():
            raise timeout_error(spec.name, spec.timeout) from None
        raise
    return HandlerResult(context, frozenset(noticed.status_changed))
