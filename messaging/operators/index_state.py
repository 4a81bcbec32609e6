"""What the admin's index says of a table beside its size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexState:
    """Rows of a table that its line in the index counts by themselves.

    Args:
        word: what they are: "open", "paused".
        rows: makes the query that finds them; it needs an index, or a table that stays small.
        query: of the list's URL, that shows them.
        wrong: whether somebody has to do something about them; their tables come first.
    """

    word: str
    rows: Callable[[], QuerySet[Any]]
    query: str = ""
    wrong: bool = False
