"""Counting what happened, a minute at a time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Count, F, Q
from django.utils import timezone

from messaging.core.ids import time_of, uuid7_floor
from messaging.models import Delivery, DeliveryState, Message, MinuteFigures

EVERY = 10.0
"""Seconds between two looks of the relay."""
MINUTE = timedelta(minutes=1)
KEPT = timedelta(days=8)
MAX_BACK = 10
"""Minutes that are counted although no relay ran in them, the newest."""
MAX_RECOUNTED = 3
"""Minutes a look that are counted again because something of them was not settled."""
RECOUNTED = timedelta(days=1)
GIVEN_UP = (DeliveryState.DEAD, DeliveryState.CANCELLED, DeliveryState.EXPIRED, DeliveryState.REPLACED)
SLICES, MAX_A_SLICE = 4, 500
"""Times are taken of so many deliveries of each quarter of a minute at most."""


def record() -> int:
    """Count the minutes that ended since the last look; return how many were written.

    Two relays that do it at once write the same.
    """
    now = timezone.now()
    this_minute = now.replace(second=0, microsecond=0)
    minutes = [this_minute - number * MINUTE for number in range(1, MAX_BACK + 1)]
    known = set(MinuteFigures.objects.filter(minute__gte=minutes[-1]).values_list("minute", flat=True))
    unsettled = MinuteFigures.objects.filter(
        deliveries__gt=F("handled") + F("given_up"), minute__gte=now - RECOUNTED
    ).order_by("-minute")
    again = list(unsettled.values_list("minute", flat=True)[:MAX_RECOUNTED])
    rows = [count(minute) for minute in dict.fromkeys([*(m for m in minutes if m not in known), *again])]
    MinuteFigures.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["minute"],
        update_fields=["messages", "deliveries", "handled", "given_up", "median_seconds", "slowest_seconds"],
    )
    MinuteFigures.objects.filter(minute__lt=now - KEPT).delete()
    return 0  # nothing was repaired


def count(minute: datetime) -> MinuteFigures:
    """What happened to what was sent in a minute. Its rows are a range of the primary keys.

    Args:
        minute: its first second.
    """
    first, last = uuid7_floor(minute), uuid7_floor(minute + MINUTE)
    states = dict(
        Delivery.objects.filter(pk__gte=first, pk__lt=last).order_by().values_list("state").annotate(count=Count("pk"))
    )
    handled = states.get(DeliveryState.PROCESSED, 0)
    given_up = sum(states.get(state, 0) for state in GIVEN_UP)
    times = sorted(_times(minute)) if handled else []
    return MinuteFigures(
        minute=minute,
        messages=Message.objects.filter(pk__gte=first, pk__lt=last).count(),
        deliveries=sum(states.values()),
        handled=handled,
        given_up=given_up,
        median_seconds=times[len(times) // 2] if times else None,
        slowest_seconds=times[min(len(times) - 1, len(times) * 99 // 100)] if times else None,
    )


def _times(minute: datetime) -> Iterator[float]:
    """Seconds from sent to handled of some deliveries of each part of the minute."""
    part = MINUTE / SLICES
    for number in range(SLICES):
        begin = minute + number * part
        some = Delivery.objects.filter(
            Q(pk__gte=uuid7_floor(begin), pk__lt=uuid7_floor(begin + part)),
            state=DeliveryState.PROCESSED,
            settled_at__isnull=False,
        ).order_by("pk")
        for key, settled in some.values_list("pk", "settled_at")[:MAX_A_SLICE]:
            if settled is not None:
                yield max(0.0, (settled - time_of(key)).total_seconds())
