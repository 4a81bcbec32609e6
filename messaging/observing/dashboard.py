"""What people on call want to know first: what is wrong and what to do, then figures, then how it was before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Max, Sum
from django.db.models.functions import Trunc
from django.utils import timezone

from messaging.models import (
    DeadLetter,
    DeadLetterStatus,
    DeadReason,
    Delivery,
    DeliveryState,
    MinuteFigures,
    WorkerStatus,
    Workflow,
    WorkflowStatus,
)
from messaging.models.worker import SILENT_AFTER
from messaging.observing.probes import oldest_unhandled
from messaging.observing.system import system

SPANS: dict[str, tuple[timedelta, timedelta]] = {
    "hour": (timedelta(hours=1), timedelta(minutes=1)),
    "day": (timedelta(days=1), timedelta(minutes=15)),
    "week": (timedelta(days=7), timedelta(hours=2)),
}
"""Name → how far back, and how long each step of it is."""
MAX_COUNTED = 10_000
"""Rows that a figure counts at most."""
SECURITY_REASONS = (DeadReason.NOT_AUTHENTIC, DeadReason.NOT_AUTHORIZED, DeadReason.CHECK_FAILED)
WAITING_STATES = (DeliveryState.PENDING, DeliveryState.SENT, DeliveryState.LEASED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that does not work, or waits for a person.

    Args:
        name: of the probe that found it.
        text: what it is and what to do.
        failing: it does not work; otherwise it only waits for a person.
    """

    name: str
    text: str
    failing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentFigures:
    """Figures of this moment; those that count rows stop at ``MAX_COUNTED``.

    Args:
        messages_a_minute: sent in the last minute that is counted; None without a relay.
        median_seconds, slowest_seconds: from sent to handled in that minute (50 and 99 of 100 are faster).
        waiting: deliveries on their way or at work.
        held: deliveries that wait for their turn, a workflow or an agent.
        quarantined: deliveries that wait for a person's verdict.
        oldest_seconds: how long the oldest delivery that could be handled has been waiting.
        parked, paused: workflows.
        dead: open dead letters.
        security: open dead letters that a signature, the access policy or a check is the reason of.
        workers: consumers at work.
    """

    messages_a_minute: int | None
    median_seconds: float | None
    slowest_seconds: float | None
    waiting: int
    held: int
    quarantined: int
    oldest_seconds: float
    parked: int
    paused: int
    dead: int
    security: int
    workers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartStep:
    """One step of a chart.

    Args:
        start: when it begins.
        sent, handled, given_up: deliveries that were sent in it, and what became of them.
        slowest_seconds: the longest 99th percentile of its minutes; None where nothing was handled.
    """

    start: datetime
    sent: int = 0
    handled: int = 0
    given_up: int = 0
    slowest_seconds: float | None = None


def problems() -> Sequence[Problem]:
    """What is wrong, the failing first."""
    found = [
        Problem(name=name, text=finding.detail, failing=not finding.ok)
        for name, finding in system.report().findings.items()
        if finding.degraded or not finding.ok
    ]
    return sorted(found, key=lambda problem: not problem.failing)


def _in_state(*states: DeliveryState) -> int:
    return Delivery.objects.filter(state__in=[str(state) for state in states]).order_by()[:MAX_COUNTED].count()


def _workflows(status: WorkflowStatus) -> int:
    return Workflow.objects.filter(status=status).order_by()[:MAX_COUNTED].count()


def current_figures() -> CurrentFigures:
    """Figures of this moment, each by an index that holds what is in flight only."""
    now = timezone.now()
    last = MinuteFigures.objects.filter(minute__gte=now - timedelta(minutes=5)).order_by("-minute").first()
    open_letters = DeadLetter.objects.filter(status=DeadLetterStatus.OPEN).order_by()
    return CurrentFigures(
        messages_a_minute=last.messages if last else None,
        median_seconds=last.median_seconds if last else None,
        slowest_seconds=last.slowest_seconds if last else None,
        waiting=_in_state(*WAITING_STATES),
        held=_in_state(DeliveryState.HELD),
        quarantined=_in_state(DeliveryState.QUARANTINED),
        oldest_seconds=oldest_unhandled(),
        parked=_workflows(WorkflowStatus.PARKED),
        paused=_workflows(WorkflowStatus.PAUSED),
        dead=open_letters[:MAX_COUNTED].count(),
        security=open_letters.filter(reason__in=SECURITY_REASONS)[:MAX_COUNTED].count(),
        workers=WorkerStatus.objects.filter(stopped_at=None, heartbeat_at__gt=now - SILENT_AFTER).count(),
    )


def steps(span: str) -> Sequence[ChartStep]:
    """How it was, from then to now, without holes.

    Args:
        span: one of ``SPANS``.
    """
    back, length = SPANS[span]
    end = timezone.now().replace(second=0, microsecond=0)
    start = end - back
    rows = (
        MinuteFigures.objects.filter(minute__gte=start, minute__lt=end)
        .annotate(at=Trunc("minute", "minute" if length < timedelta(hours=1) else "hour"))
        .values("at")
        .annotate(sent=Sum("deliveries"), done=Sum("handled"), lost=Sum("given_up"), slowest=Max("slowest_seconds"))
        .order_by("at")
    )
    sums: dict[int, list[float | None]] = {}
    for at, sent, done, lost, slowest in rows.values_list("at", "sent", "done", "lost", "slowest"):
        found = sums.setdefault(max(0, int((at - start) / length)), [0, 0, 0, None])
        found[0], found[1], found[2] = (found[0] or 0) + sent, (found[1] or 0) + done, (found[2] or 0) + lost
        if slowest is not None:
            found[3] = max(found[3] or 0.0, slowest)
    empty: list[float | None] = [0, 0, 0, None]
    return [
        ChartStep(
            start=start + number * length,
            sent=int(values[0] or 0),
            handled=int(values[1] or 0),
            given_up=int(values[2] or 0),
            slowest_seconds=values[3],
        )
        for number in range(int(back / length))
        for values in [sums.get(number, empty)]
    ]
