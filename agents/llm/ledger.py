"""The ledger of tool calls: a finished call is never made again, an interrupted one is repaired."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from django.utils import timezone

from agents.models import ToolCall, ToolCallStatus
from messaging.api import HandlerContext
from messaging.extension import cut_text, database_threads, get_settings, safe_repr, storable, summarize_error

Value = TypeVar("Value")

MAX_RESULT_BYTES = 100_000
"""As JSON, in which it goes to the model and into the agent's memory."""
MAX_ID = 200
INTERRUPTED = (
    "This call was interrupted by a crash, and nobody knows whether it took effect. "
    "Find out before you repeat it, or tell the user."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgeredCall:
    """A tool call that a model asked for.

    Args:
        id: unique within the handling of a delivery.
        tool: the tool's name.
        arguments: JSON as the model wrote it.
        repeatable: calling again after a crash does no harm.
        tells_failures: what it raises is told to the model; otherwise it goes on to the caller, and a redelivery calls
            again.
    """

    id: str
    tool: str
    arguments: str
    repeatable: bool = False
    tells_failures: bool = True

    @property
    def key(self) -> str:
        """The id as the ledger keeps it, whatever a model made of it."""
        return storable(self.id)[-200:]


async def ledgered(context: HandlerContext, call: LedgeredCall, run: Callable[[], Awaitable[str]]) -> str:
    """Make a call, or return what the ledger says about it.

    In the in-process mode nothing outlives a crash, so there is no ledger and the call is just made.

    Args:
        context: of the handler.
        call: what is called.
        run: calls it; what it raises is told to the model.

    Returns:
        The result for the model.
    """
    if context.results is None or not context.results.durable:
        return (await _run(call, run))[1]
    known = await _in_database(lambda: _begin(context, call))
    if known is not None:
        return known
    try:
        status, result = await _run(call, run)
    except Exception as error:
        raised = safe_repr(error)
        await asyncio.shield(_in_database(lambda: _end(context, call, ToolCallStatus.FAILED, raised)))
        raise
    # Shielded: a handler that is cancelled now (timeout) must not forget a call that was made.
    await asyncio.shield(_in_database(lambda: _end(context, call, status, result)))
    return result


async def _in_database(work: Callable[[], Value]) -> Value:
    return await asyncio.wrap_future(database_threads.submit(work))


async def _run(call: LedgeredCall, run: Callable[[], Awaitable[str]]) -> tuple[ToolCallStatus, str]:
    try:
        result = await run()
    except Exception as error:
        if not call.tells_failures:
            raise
        return ToolCallStatus.FAILED, _told(f"{call.tool} failed: {summarize_error(error)}")
    return ToolCallStatus.FINISHED, _told(result)


def _told(result: str) -> str:
    """A result as it is told and kept: the model is told the same at once and after a redelivery."""
    return cut_text(storable(result), MAX_RESULT_BYTES, f" … ({len(result)} characters, cut here)")


def _begin(context: HandlerContext, call: LedgeredCall) -> str | None:
    """Note that the call begins; return what the model is to be told instead, if it must not."""
    entry, new = ToolCall.objects.get_or_create(
        delivery_id=context.delivery_id,
        call_id=call.key,
        defaults={
            "workflow_id": context.workflow_id,
            "agent": context.agent,
            "tool": storable(call.tool)[:200],
            "arguments": storable(call.arguments),
            "started_at": timezone.now(),
        },
    )
    if new:
        return None
    failed = entry.status == ToolCallStatus.FAILED and not call.tells_failures
    if entry.status != ToolCallStatus.STARTED and not failed:
        return entry.result
    if call.repeatable or failed:
        ToolCall.objects.filter(pk=entry.pk).update(
            status=ToolCallStatus.STARTED, attempts=entry.attempts + 1, started_at=timezone.now()
        )
        return None
    _end(context, call, ToolCallStatus.REPAIRED, INTERRUPTED)
    return INTERRUPTED


def _end(context: HandlerContext, call: LedgeredCall, status: ToolCallStatus, result: str) -> None:
    ToolCall.objects.filter(delivery_id=context.delivery_id, call_id=call.key, status=ToolCallStatus.STARTED).update(
        status=status,
        result=result,
        ended_at=timezone.now(),
    )


def prune_calls(limit: int = 5_000) -> int:
    """Delete calls that no redelivery can ask for any more; return how many.

    Args:
        limit: most rows that one call deletes.
    """
    before = timezone.now() - timedelta(seconds=get_settings().dedup_ttl)
    calls = ToolCall.objects.filter(started_at__lt=before).order_by("started_at").values_list("pk", flat=True)
    return ToolCall.objects.filter(pk__in=list(calls[:limit])).delete()[0]
