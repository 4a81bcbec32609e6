"""Replaying or discarding many dead letters: looked at first, at a bounded rate, and safe to kill at any line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from messaging.core.arguments import as_uuid, check_text
from messaging.core.errors import NexusError, ReplayError
from messaging.models import BulkAction, BulkRun, BulkStatus, DeadLetter, Entrance
from messaging.operators.acts import Actor, perform
from messaging.operators.dead_letters import DeadLetterFilter, resolve_letter_as

MAX_RATE = 1_000.0
MIN_RATE = 0.1
MAX_PROBLEMS = 20
MAX_COUNTED = 100_000
"""Dead letters that a dry run counts at most."""
SAMPLE = 10


@dataclass(frozen=True, slots=True)
class BulkPreview:
    """What a run would come to.

    Args:
        count: how many dead letters, at most ``MAX_COUNTED``.
        sample: the oldest of them.
    """

    count: int
    sample: Sequence[DeadLetter]


def preview(chosen: DeadLetterFilter) -> BulkPreview:
    """Look at what a run would come to; nothing is changed."""
    found = chosen.select()
    return BulkPreview(found[:MAX_COUNTED].count(), list(found.defer("body", "headers")[:SAMPLE]))


def begin(action: str, chosen: DeadLetterFilter, *, actor: Actor, reason: str, rate: float = 50.0) -> BulkRun:
    """Store a run over what is open now; what becomes a dead letter later is none of its business.

    Args:
        action: ``"replay"`` or ``"discard"``.
        chosen: which dead letters.
        actor: who wants it.
        reason: why.
        rate: dead letters a second at most, from ``MIN_RATE`` to ``MAX_RATE``.

    Raises:
        ReplayError: there is nothing to do, or it cannot be done so.
    """
    if action not in BulkAction.values:
        raise ReplayError(f"Dead letters can be resolved by {' or '.join(BulkAction.values)}.")
    if not MIN_RATE <= rate <= MAX_RATE:
        raise ReplayError(f"Expected a rate from {MIN_RATE:g} to {MAX_RATE:g} a second, got {rate:g}.")
    check_text("reason", reason)
    newest = chosen.select().order_by("-pk").values_list("pk", flat=True).first()
    if newest is None:
        raise ReplayError("No open dead letter is like that.")
    now = timezone.now()
    run = BulkRun(
        action=action,
        criteria=chosen.as_plain(),
        rate=rate,
        who=actor.name[:150],
        entrance=actor.entrance,
        reason=reason,
        total=chosen.select().filter(pk__lte=newest).count(),
        last_letter=newest,
        created_at=now,
        next_at=now,
    )

    def do() -> str:
        run.save(force_insert=True)
        return ""

    perform(actor, f"begin to {action} in bulk", BulkRun, run.pk, do, reason=reason)
    return run


def step(run_id: UUID) -> float | None:
    """Come to a run's next dead letter: it and the run's counters change in one transaction.

    Two processes at one run take turns, and together keep its rate.

    Returns:
        Seconds until the next step may do something; None when nothing is left, or it was cancelled.

    Raises:
        ReplayError: there is no such run.
    """
    with transaction.atomic():
        run = _lock(run_id)
        if run.status != BulkStatus.RUNNING:
            return None
        now = timezone.now()
        if run.next_at > now:
            return min(1.0 / run.rate, (run.next_at - now).total_seconds())
        waiting = DeadLetterFilter.from_plain(run.criteria).select()
        waiting = waiting.filter(pk__gt=run.position, pk__lte=run.last_letter).order_by("pk")
        letter = waiting.values_list("pk", flat=True).first()
        if letter is None:
            run.status, run.ended_at = BulkStatus.DONE, now
        else:
            _resolve(run, letter)
            run.position = letter
            run.next_at = now + timedelta(seconds=1.0 / run.rate)
        run.save()
    return None if letter is None else max(0.0, (run.next_at - timezone.now()).total_seconds())


def _resolve(run: BulkRun, letter: int) -> None:
    actor = Actor(run.who, Entrance(run.entrance))
    try:
        resolve_letter_as(BulkAction(run.action), letter, actor=actor, reason=f"{run.reason} (bulk run {run.pk})")
    except NexusError as error:
        run.failed += 1
        if len(run.problems) < MAX_PROBLEMS:
            run.problems = [*run.problems, f"{letter}: {error}"]
    else:
        run.done += 1


def cancel(run_id: UUID, *, actor: Actor, reason: str = "") -> str:
    """End a run after the dead letter that it is at; what it did stays done.

    Returns:
        Why there was nothing to do, or nothing.

    Raises:
        ReplayError: there is no such run.
    """

    def do() -> str:
        run = _lock(run_id)
        if run.status != BulkStatus.RUNNING:
            return f"is {run.status} already."
        run.status, run.ended_at = BulkStatus.CANCELLED, timezone.now()
        run.save(update_fields=["status", "ended_at"])
        return ""

    return perform(actor, "cancel", BulkRun, as_uuid("run", run_id), do, reason=reason)


def _lock(run_id: UUID) -> BulkRun:
    run = BulkRun.objects.select_for_update(no_key=True).filter(pk=as_uuid("run", run_id)).first()
    if run is None:
        raise ReplayError(f"There is no bulk run {run_id}.")
    return run


def progress(run_id: UUID) -> dict[str, Any]:
    """How far a run is, as plain data."""
    run = BulkRun.objects.get(pk=run_id)
    return {
        "run": str(run.pk),
        "action": run.action,
        "status": run.status,
        "total": run.total,
        "done": run.done,
        "failed": run.failed,
        "problems": run.problems,
    }
