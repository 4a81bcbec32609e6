"""What the admin's pages have in common: they never change the log, and stay quick when it has millions of rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import DateTimeField, Model, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from messaging.admin import display
from messaging.core.ids import uuid7_floor
from messaging.operators.index_state import IndexState
from messaging.operators.paging import BoundedPaginator

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin

PERIODS = {
    "hour": ("Past hour", timedelta(hours=1)),
    "day": ("Past 24 hours", timedelta(days=1)),
    "week": ("Past 7 days", timedelta(days=7)),
    "month": ("Past 30 days", timedelta(days=30)),
}
SEARCHED_PERIOD = "week"
MAX_SEARCHED = 100_000
"""Rows that a search for words looks through at most, the newest: no index helps it."""


def parse_uuid(text: str) -> UUID | None:
    """The UUID that a text is, or None."""
    try:
        return UUID(text)
    except ValueError:
        return None


class PeriodFilter(admin.SimpleListFilter):
    """Rows made since a moment, found by their time-ordered ids: no index on a date is needed."""

    title = "time"
    parameter_name = "since"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(key, label) for key, (label, _) in PERIODS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return queryset if value not in PERIODS else made_since(queryset, "pk", value)


class WorkflowPeriodFilter(PeriodFilter):
    """Rows of workflows that were started since a moment."""

    title = "start of the workflow"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return queryset if value not in PERIODS else made_since(queryset, "workflow", value)


def made_since(queryset: QuerySet[Any], id_field: str, period: str) -> QuerySet[Any]:
    """Rows whose id (a UUIDv7) was made within a period."""
    return queryset.filter(**{f"{id_field}__gte": uuid7_floor(timezone.now() - PERIODS[period][1])})


class LogAdmin(ModelAdmin):
    """Shows rows that nobody may change here.

    A search for an id is exact and uses an index. A search for words only looks at the period that is chosen, the past
    7 days by default, because no index helps it.
    """

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # it would count the whole table once for each choice
    paginator = BoundedPaginator
    list_per_page = 50
    list_max_show_all = 200
    ordering = ("-pk",)
    sortable_by = ()
    empty_value_display = "-"

    id_searches: tuple[str, ...] = ()
    """Fields that a UUID is compared with."""
    word_searches: tuple[str, ...] = ()
    """Lookups that any other text is compared with."""
    internal = False
    """Whether it is for people who mend Nexus itself: the index lists it last."""
    index_group = "Records"
    """Where the index lists it: one of ``messaging.admin.index.GROUPS``."""
    index_states: Sequence[IndexState] = ()
    """Rows that the index counts by themselves."""
    time_field = ""
    """The UUIDv7 that says how old a row is; empty where searches for words need no bound."""

    class Media:
        css = {"all": ["nexus/admin.css"]}

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Whether Django lists it, in its sidebar for one."""
        return not self.internal and super().has_module_permission(request)

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """Its own, with every time as the lists show it."""
        return self._with_times(super().get_fields(request, obj))

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """See ``get_fields``."""
        return self._with_times(super().get_readonly_fields(request, obj))

    def _with_times(self, fields: Any) -> list[Any]:
        times = {field.name: field for field in self.opts.get_fields() if isinstance(field, DateTimeField)}
        return [
            display.time_field(field, str(times[field].verbose_name))
            if isinstance(field, str) and field in times and field in self.readonly_fields
            else field
            for field in fields
        ]

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """Not empty where there is a search box; ``get_search_results`` does the searching."""
        return (*self.id_searches, *self.word_searches)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search by exact ids, or for words in the rows of a period."""
        term = search_term.strip().replace("\x00", "")
        if not term:
            return queryset, False
        identifier = parse_uuid(term)
        if identifier is not None:
            return self._find(queryset, identifier), False
        wanted = Q()
        for lookup in self.word_searches:
            wanted |= Q(**{lookup: term})
        found = queryset.filter(wanted) if wanted else queryset.none()
        if self.time_field:
            found = self._newest(request, found)
        return found, False

    def _newest(self, request: HttpRequest, found: QuerySet[Any]) -> QuerySet[Any]:
        """Those of a period that are among the newest ``MAX_SEARCHED`` rows; says so where that leaves some out."""
        since = request.GET.get("since", SEARCHED_PERIOD)
        if "since" not in request.GET:
            found = made_since(found, self.time_field, SEARCHED_PERIOD)
        keys = self.model._default_manager.order_by(f"-{self.time_field}").values_list(self.time_field, flat=True)
        if since in PERIODS:
            keys = made_since(keys, self.time_field, since)
        beyond = keys[MAX_SEARCHED : MAX_SEARCHED + 1].first()
        if beyond is None:
            return found
        self.message_user(
            request,
            f"Only the newest {MAX_SEARCHED:,} rows were searched for the word. Search for an id, which finds all.",
            messages.WARNING,
        )
        return found.filter(**{f"{self.time_field}__gt": beyond})

    def _find(self, queryset: QuerySet[Any], identifier: UUID) -> QuerySet[Any]:
        """The rows that an id belongs to. One field after the other: no index serves an OR of several."""
        for lookup in self.id_searches:
            found = queryset.filter(**{lookup: identifier})
            if found.exists():
                return found
        return queryset.none()
