"""Open dead letters by what went wrong and where: a thousand with one cause are one thing to mend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Max, Min, Q, QuerySet
from django.utils import timezone

from messaging.models import DeadLetter, DeadLetterStatus

TREND = timedelta(hours=1)
COLUMNS = ("agent", "reason", "error", "place", "message_type")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterGroup:
    """Open dead letters that have one cause.

    Args:
        agent, reason, error, place, message_type: what they have in common; empty where nobody knows.
        count: how many there are.
        recent: how many of them came within the last hour.
        earlier: how many of them came in the hour before that.
        first, last: when the oldest and the newest came.
        example: id of the newest.
    """

    agent: str
    reason: str
    error: str
    place: str
    message_type: str
    count: int
    recent: int
    earlier: int
    first: datetime
    last: datetime
    example: int

    @property
    def trend(self) -> str:
        """``"rising"``, ``"steady"``, ``"falling"`` or ``"quiet"`` (none for two hours)."""
        if not self.recent and not self.earlier:
            return "quiet"
        if self.recent == self.earlier:
            return "steady"
        return "rising" if self.recent > self.earlier else "falling"

    def select(self) -> QuerySet[DeadLetter]:
        """Its open dead letters, the oldest first."""
        common = {column: getattr(self, column) for column in COLUMNS}
        return DeadLetter.objects.filter(status=DeadLetterStatus.OPEN, **common).order_by("pk")


def dead_letter_groups(chosen: QuerySet[DeadLetter] | None = None, *, limit: int = 100) -> Sequence[DeadLetterGroup]:
    """The groups, the largest first.

    Args:
        chosen: of these only; None for every open one.
        limit: that many groups at most.
    """
    found = DeadLetter.objects.filter(status=DeadLetterStatus.OPEN) if chosen is None else chosen
    now = timezone.now()
    rows = (
        found.order_by()
        .values(*COLUMNS)
        .annotate(
            count=Count("pk"),
            recent=Count("pk", filter=Q(created_at__gt=now - TREND)),
            earlier=Count("pk", filter=Q(created_at__gt=now - 2 * TREND, created_at__lte=now - TREND)),
            first=Min("created_at"),
            last=Max("created_at"),
            example=Max("pk"),
        )
        .order_by("-count", "-last")[:limit]
    )
    return [DeadLetterGroup(**row) for row in rows]
