"""How times look in the admin: one way everywhere."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

from django.utils import timezone


def moment(value: datetime | None) -> str:
    """A time, to the second, in the time zone of the settings."""
    return "-" if value is None else f"{timezone.localtime(value):%Y-%m-%d %H:%M:%S}"


def time_column(field: str, title: str) -> Callable[[Any], str]:
    """A column of a list with the times of a field."""

    def column(row: Any) -> str:
        return moment(getattr(row, field))

    column.short_description = title  # type: ignore[attr-defined]  # what admin.display does; nothing here needs the admin
    return column


@cache
def time_field(field: str, title: str) -> Callable[[Any], str]:
    """A field of a row's page with a time; the same object each time, as Django's forms want it."""
    return time_column(field, title)
