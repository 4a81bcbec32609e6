"""Pages of lists that may be long."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.core.paginator import Page, Paginator

if TYPE_CHECKING:
    BasePaginator = Paginator[Any]
else:
    BasePaginator = Paginator

MAX_COUNTED = 10_000
"""Rows that a list counts, and pages through, at most."""
SOON = 500
"""Rows that may be read before a page's own."""


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

    def page(self, number: int | str) -> Page[Any]:
        """One page. Of a later one the keys are read first: what stands before it costs no join and no subquery."""
        checked = self.validate_number(number)
        first = (checked - 1) * self.per_page
        if first < SOON:
            return super().page(checked)
        rows: Any = self.object_list
        keys = list(rows.values_list("pk", flat=True)[first : first + self.per_page])
        return Page(rows.filter(pk__in=keys), checked, self)
