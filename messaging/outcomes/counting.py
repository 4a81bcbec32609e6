"""Counting outcomes for monitoring, in the transaction that makes them durable: what is counted equals the log."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence

from django.utils import timezone

from messaging.conf import get_settings
from messaging.core.ids import time_of
from messaging.core.outcome import Outcome
from messaging.log.tallies import TallyKey, add_tallies
from messaging.models import Counted
from messaging.outcomes.decision import Decision

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
"""Seconds: upper bounds of the classes of critical time, from sent to handled."""
_LABELS = (*(str(bound) for bound in BOUNDS), "+Inf")


def is_on() -> bool:
    """Whether outcomes are counted."""
    return get_settings().metrics == "on"


def count_outcomes(decided: Iterable[tuple[Outcome, Sequence[Decision]]]) -> None:
    """Count decisions in the transaction that is open. Nothing happens while metrics are off.

    Args:
        decided: decisions by what became of them.
    """
    if not is_on():
        return
    counts: Counter[TallyKey] = Counter()
    now = timezone.now()
    for outcome, group in decided:
        for decision in group:
            counted_as = Outcome.DUPLICATE if decision.repeated else outcome
            counts[TallyKey(Counted.OUTCOME.value, decision.agent, counted_as.value)] += 1
            if counted_as is Outcome.PROCESSED:
                seconds = max(0.0, (now - time_of(decision.delivery_id)).total_seconds())
                counts[TallyKey(Counted.CRITICAL_TIME.value, label=_LABELS[bisect_left(BOUNDS, seconds)])] += 1
                counts[TallyKey(Counted.CRITICAL_MILLISECONDS.value)] += round(seconds * 1000)
    add_tallies(counts)
