"""Open dead letters by what went wrong and where: a thousand with one cause are one thing to mend."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from django.db import transaction
from django.db.models import Count, Max, Min, Q, QuerySet
from django.utils import timezone

from messaging.core.arguments import check_text
from messaging.models import DeadLetter, DeadLetterNote, DeadLetterStatus
from messaging.operators.acts import Actor, record
from messaging.operators.dead_letters import GROUP_COLUMNS, DeadLetterFilter

TREND = timedelta(hours=1)
MAX_NOTE = 2_000
"""Characters of a note."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterGroup:
    """Open dead letters that have one cause.

    Args:
        agent, reason, error, place, message_type: what they have in common; empty where nobody knows.
        count: how many there are.
        recent: how many of them came within the last hour.
        earlier: how many of them came in the hour before that.
        day, week: how many of them came within the last 24 hours, and 7 days.
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
    day: int
    week: int
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

    @property
    def common(self) -> tuple[str, ...]:
        """Its values of ``GROUP_COLUMNS``."""
        return tuple(getattr(self, column) for column in GROUP_COLUMNS)

    @property
    def key(self) -> str:
        """By which its note is found."""
        return group_key(self.common)

    def select(self) -> QuerySet[DeadLetter]:
        """Its open dead letters, the oldest first."""
        return DeadLetterFilter(group=self.common).select()


def group_key(common: Sequence[str]) -> str:
    """A digest of what the dead letters of a group have in common, in the order of ``GROUP_COLUMNS``."""
    return sha256(json.dumps(list(common)).encode()).hexdigest()


def note_group(dead_letter_id: int, text: str, *, actor: Actor) -> None:
    """Write, change or (with an empty text) remove the note of the group that a dead letter belongs to.

    Args:
        dead_letter_id: of any of its letters.
        text: what people should know; at most ``MAX_NOTE`` characters.
        actor: who writes.

    Raises:
        ReplayError: there is no such dead letter.
        EnvelopeError: the text is too long, or cannot be stored.
    """
    text = text.strip()
    if text:
        check_text("note", text, MAX_NOTE)
    key = group_key(DeadLetterFilter.like(dead_letter_id).group)
    with transaction.atomic():
        before = DeadLetterNote.objects.select_for_update(no_key=True).filter(pk=key).first()
        if text == ("" if before is None else before.text):
            return
        if text:
            values = {"text": text, "who": str(actor)[:150], "at": timezone.now()}
            DeadLetterNote.objects.update_or_create(pk=key, defaults=values)
        elif before is not None:
            before.delete()
        record(
            actor,
            "note",
            DeadLetterNote,
            key,
            before=None if before is None else {"text": before.text, "who": before.who},
            after={"text": text, "dead_letter": dead_letter_id} if text else None,
        )


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
        .values(*GROUP_COLUMNS)
        .annotate(
            count=Count("pk"),
            recent=Count("pk", filter=Q(created_at__gt=now - TREND)),
            earlier=Count("pk", filter=Q(created_at__gt=now - 2 * TREND, created_at__lte=now - TREND)),
            day=Count("pk", filter=Q(created_at__gt=now - timedelta(days=1))),
            week=Count("pk", filter=Q(created_at__gt=now - timedelta(days=7))),
            first=Min("created_at"),
            last=Max("created_at"),
            example=Max("pk"),
        )
        .order_by("-count", "-last")[:limit]
    )
    return [DeadLetterGroup(**row) for row in rows]
