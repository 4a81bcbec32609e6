"""Pages of lists that may be long."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.core.paginator import Paginator

if TYPE_CHECKING:
    BasePaginator = Paginator[Any]
else:
    BasePaginator = Paginator

MAX_COUNTED = 10_000
"""Rows that a list counts, and pages through, at most."""


class BoundedPaginator(BasePaginator):
    """Counts at most ``MAX_COUNTED`` rows: ``COUNT(*)`` over a whole log takes minutes."""

    @property
    def capped(self) -> bool:
        """Whether there are more rows than were counted."""
        return self.count >= MAX_COUNTED

    @cached_property
    def count(self) -> int:
        """The number of rows, or ``MAX_COUNTED`` where there are more."""
        rows: Any = self.object_list
        return int(rows.order_by()[:MAX_COUNTED].count())  # sorted, it would read them all
