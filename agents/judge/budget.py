"""What judging may cost: calls and tokens a day, for each team. Reserved before a call, put right after it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Greatest

from agents.judge.rule import JudgeSettings
from agents.models import JudgeSpending
from messaging.api import NexusError

KEPT_DAYS = 90


class BudgetUsedUp(NexusError):
    """A team may spend no more on judging today."""


@dataclass(frozen=True, slots=True)
class BudgetReservation:
    """Taken from the budgets of some teams.

    Args:
        day: UTC.
        teams: whose budgets.
        rule: its name in the settings.
        tokens: that count as spent until the call is over; after a crash for good.
    """

    day: date
    teams: tuple[str, ...]
    rule: str
    tokens: int


def reserve(teams: Collection[str], rule: str, tokens: int, settings: JudgeSettings) -> BudgetReservation:
    """Take a call and its tokens from the budget of every team, or from none.

    Args:
        teams: that sender and recipient share; without any, what all those share.
        rule: its name in the settings.
        tokens: that the call takes at most, roughly.
        settings: the limits.

    Raises:
        BudgetUsedUp: one of them has not as much left.
    """
    made = BudgetReservation(datetime.now(UTC).date(), tuple(sorted(teams)) or ("",), rule, tokens)
    with transaction.atomic():
        for team in made.teams:  # in one order everywhere: no deadlock
            place: dict[str, Any] = {"day": made.day, "team": team, "rule": rule}
            JudgeSpending.objects.get_or_create(**place)
            left = {"calls__lt": settings.calls_per_day, "tokens__lte": settings.tokens_per_day - tokens}
            if not JudgeSpending.objects.filter(**place, **left).update(
                calls=F("calls") + 1, tokens=F("tokens") + tokens
            ):
                whose = f"of the team {team!r}" if team else "without a team"
                raise BudgetUsedUp(f"the budget {whose} for judging is used up for today (UTC)")
    return made


def settle(reservation: BudgetReservation, tokens: int) -> None:
    """Put right what a call really took.

    Args:
        reservation: made before it.
        tokens: as the server counted them; 0 where it was never reached.
    """
    for team in reservation.teams:
        JudgeSpending.objects.filter(day=reservation.day, team=team, rule=reservation.rule).update(
            tokens=Greatest(F("tokens") + (tokens - reservation.tokens), 0)
        )


def prune() -> int:
    """Delete what was spent long ago; return how many rows."""
    before = datetime.now(UTC).date() - timedelta(days=KEPT_DAYS)
    return JudgeSpending.objects.filter(day__lt=before).delete()[0]
