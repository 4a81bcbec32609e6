"""Cron expressions: five fields, in UTC.

    minute hour day-of-month month day-of-week

A field is ``*``, a number, a range ``1-5``, a list ``1,15``, each with a step if wanted (``*/10``); days of the week
are 0 (Sunday) to 7 (Sunday again). As everywhere, a day matches when *either* of the two day fields does, if both are
given.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from messaging.core.errors import ConfigurationError

_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12), ("day of the week", 0, 7))
MAX_SEARCH = timedelta(days=8 * 366)
"""29 February may be eight years away (1896 to 1904, 2096 to 2104)."""


@dataclass(frozen=True, slots=True)
class Cron:
    """A parsed expression."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool

    def after(self, moment: datetime) -> datetime:
        """The first time behind a moment, in UTC.

        Raises:
            ConfigurationError: there is none within eight years, as for 30 February.
        """
        time = moment.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
        end = time + MAX_SEARCH
        while time < end:
            if not self._has_day(time):
                time = time.replace(hour=0, minute=0) + timedelta(days=1)
            elif time.hour not in self.hours:
                time = time.replace(minute=0) + timedelta(hours=1)
            elif time.minute not in self.minutes:
                time += timedelta(minutes=1)
            else:
                return time
        raise ConfigurationError("The cron expression names a day that never comes.")

    def _has_day(self, time: datetime) -> bool:
        if time.month not in self.months:
            return False
        day, weekday = time.day in self.days, time.isoweekday() % 7 in self.weekdays
        return day and weekday if self.any_day or self.any_weekday else day or weekday


def parse_cron(text: str) -> Cron:
    """Parse an expression.

    Raises:
        ConfigurationError: names the field and what it may be.

    >>> parse_cron("*/15 9-17 * * 1-5").after(datetime(2026, 3, 6, 17, 50, tzinfo=UTC)).isoformat()
    '2026-03-09T09:00:00+00:00'
    """
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise ConfigurationError(
            f"The cron expression {text!r} has {len(fields)} fields; expected five: "
            f"{', '.join(name for name, _, _ in _FIELDS)}."
        )
    minutes, hours, days, months, weekdays = (
        _parse_field(field, name, first, last) for field, (name, first, last) in zip(fields, _FIELDS, strict=True)
    )
    cron = Cron(
        minutes,
        hours,
        days,
        months,
        frozenset(day % 7 for day in weekdays),
        fields[2].startswith("*"),
        fields[4].startswith("*"),
    )
    cron.after(datetime(2095, 1, 1, tzinfo=UTC))
    return cron


def _parse_field(field: str, name: str, first: int, last: int) -> frozenset[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        low, _, high = (f"{first}-{last}" if span == "*" else span).partition("-")
        try:
            start, every = int(low), int(step) if step else 1
            end = int(high) if high else (last if step else start)
        except ValueError:
            start, end, every = 1, 0, 0
        if not (first <= start <= end <= last and every > 0):
            raise ConfigurationError(
                f"Cron: {part!r} is no {name}; expected *, numbers from {first} to {last}, ranges, lists or steps."
            )
        found.update(range(start, end + 1, every))
    return frozenset(found)
