"""What is to be sent later, and cancelling it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from messaging.admin import display
from messaging.admin.operating import OperatedAdmin
from messaging.models import Schedule, Timer
from messaging.sending import later
from messaging.sending.schedules import unschedule


@admin.register(Timer)
class TimerAdmin(OperatedAdmin):
    """Messages with a delay. They leave this list when they are sent."""

    index_group = "Work"
    operate_permission = "nexus.change_workflow"
    actions = ("cancel",)
    change_form_template = "admin/nexus/operated_form.html"
    list_display = ("__str__", display.time_column("due_at", "due"), "state", "source", "workflow_id", "last_error")
    list_filter = ("state",)
    ordering = ("due_at",)
    id_searches = ("pk", "workflow")
    word_searches = ("recipient", "type")
    search_help_text = "The id of a timer or a workflow; or an exact recipient or type."
    fields = (
        "id",
        "workflow",
        "source",
        "recipient",
        "type",
        "due_at",
        "state",
        "attempts",
        "last_error",
        "deduplication_id",
        "expires_in",
        "created_at",
        "shown_envelope",
    )
    readonly_fields = fields

    @admin.display(description="message")
    def shown_envelope(self, timer: Timer) -> SafeString:
        return display.raw_bytes(timer.envelope)

    def buttons(self, object_id: str) -> list[tuple[str, str]]:
        """Cancelling."""
        return [("cancel", "Cancel")]

    @admin.action(description="Cancel: do not send it", permissions=["operate"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Timer]) -> HttpResponse | None:
        """Take timers back."""
        return self.operate(
            request, queryset, lambda timer: "" if later.cancel(timer.pk) else "was sent already.", "cancelled"
        )

    def _back(self, request: HttpRequest, chosen: list[Any]) -> Any:
        """To the list: a cancelled one has no page any more."""
        return None


@admin.register(Schedule)
class ScheduleAdmin(OperatedAdmin):
    """Messages that are sent again and again."""

    index_group = "Work"
    operate_permission = "nexus.change_workflow"
    actions = ("cancel",)
    change_form_template = "admin/nexus/operated_form.html"
    list_display = (
        "name",
        display.time_column("due_at", "next"),
        "every",
        "cron",
        "recipient",
        "type",
        display.time_column("last_sent_at", "last"),
        "last_error",
    )
    word_searches = ("name__icontains",)

    def buttons(self, object_id: str) -> list[tuple[str, str]]:
        """Ending it."""
        return [("cancel", "End")]

    @admin.action(description="End: send it no more", permissions=["operate"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> HttpResponse | None:
        """End schedules."""
        return self.operate(
            request, queryset, lambda row: "" if unschedule(row.name) else "was ended already.", "ended"
        )

    def _back(self, request: HttpRequest, chosen: list[Any]) -> Any:
        """To the list: an ended one has no page any more."""
        return None
