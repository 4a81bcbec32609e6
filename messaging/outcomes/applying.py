"""Applying decisions: the one place where an outcome becomes durable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import assert_never

from messaging import log
from messaging.core.outcome import Outcome
from messaging.outcomes import announcing, counting, dead, ended, held, leased, processed, quarantined, rejected, retry
from messaging.outcomes.decision import Applied, Decision


def apply(
    decisions: Iterable[Decision], now: datetime, writes: log.BatchWrites | None = None, *, last: bool = False
) -> Applied:
    """Apply decisions in the transaction that is open. The caller holds the locks of their workflows.

    Only DEAD takes the workflow's lock by itself, so that a failure may be settled without any.

    Args:
        decisions: at most one for each delivery.
        now: the current time.
        writes: what the batch leaves; written before anything else, together with what is PROCESSED.

        last: the caller writes nothing afterwards: what is PROCESSED may be committed in the same round trip.

    Returns:
        The counts. A decision whose delivery was settled or leased by another one meanwhile counts as DUPLICATE.
    """
    applied = Applied()
    groups: dict[Outcome, list[Decision]] = {}
    for decision in decisions:
        groups.setdefault(decision.outcome, []).append(decision)
        applied.counts[decision.counted_as] += 1
    handled = groups.pop(Outcome.PROCESSED, [])
    counted: list[tuple[Outcome, Sequence[Decision]]] = [(Outcome.PROCESSED, handled)] if handled else []
    processed.apply(handled, now, writes or log.BatchWrites(), last=last and not groups and not counting.is_on())
    announcing.announce(handled)
    for outcome, group in groups.items():
        lost = _apply(outcome, group, now)
        if lost:
            applied.counts[outcome] -= len(lost)
            applied.counts[Outcome.DUPLICATE] += len(lost)
            group = [decision for decision in group if decision not in lost]
            counted.append((Outcome.DUPLICATE, lost))
        counted.append((outcome, group))
        announcing.announce(group)
    counting.count_outcomes(counted)
    return applied


def _apply(outcome: Outcome, group: Sequence[Decision], now: datetime) -> list[Decision]:
    """Apply decisions of one outcome; return those that came too late to count."""
    match outcome:
        case Outcome.PROCESSED:
            raise AssertionError("settled before the others")
        case Outcome.DUPLICATE:
            return []
        case Outcome.HELD:
            return held.apply(group, now)
        case Outcome.QUARANTINED:
            return quarantined.apply(group, now)
        case Outcome.LEASED:
            return leased.apply(group, now)
        case Outcome.RETRY:
            return retry.apply(group, now)
        case Outcome.DEAD:
            return dead.apply(group, now)
        case Outcome.CANCELLED | Outcome.EXPIRED:
            return ended.apply(outcome, group, now)
        case Outcome.REJECTED:
            return rejected.apply(group, now)
        case _:
            assert_never(outcome)
