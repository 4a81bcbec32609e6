"""Bulk runs over dead letters: how far they are; they are cancelled, and sent to a worker again, here."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from messaging.admin import display
from messaging.admin.base import parse_uuid
from messaging.admin.letter_pages import bulk_progress
from messaging.admin.operating import OperatedAdmin, actor_of
from messaging.core.describing import visible
from messaging.core.errors import EnvelopeError, ReplayError
from messaging.models import BulkRun, BulkStatus
from messaging.operators import bulk
from messaging.operators.dead_letters import DeadLetterFilter
from messaging.operators.index_state import IndexState
from messaging.tasks.bulk import send_run


@admin.register(BulkRun)
class BulkRunAdmin(OperatedAdmin):
    """They are begun on the page of dead letters."""

    index_group = "Waits for people"
    index_states = (
        IndexState(
            word="running",
            rows=lambda: BulkRun.objects.filter(status=BulkStatus.RUNNING),
            query="status__exact=running",
        ),
    )
    operate_permission = "nexus.change_deadletter"
    actions = ("cancel", "go_on")
    change_form_template = "admin/nexus/bulk_run.html"
    list_display = (
        "action",
        "coloured_status",
        "progress",
        "which",
        "who",
        display.time_column("created_at", "begun"),
    )
    list_filter = ("status",)
    fields = (
        "coloured_status",
        "action",
        "progress",
        "bar",
        "which",
        "rate",
        "who",
        "entrance",
        "reason",
        "created_at",
        "ended_at",
        "what_failed",
    )
    readonly_fields = fields

    def buttons(self, object_id: str) -> list[tuple[str, str]]:
        """Only for one that runs."""
        identifier = parse_uuid(object_id)
        running = BulkRun.objects.filter(pk=identifier, status=BulkStatus.RUNNING).exists() if identifier else False
        return [("cancel", "Cancel"), ("go_on", "Go on")] if running else []

    @admin.action(description="Cancel: leave the rest as it is", permissions=["operate"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[BulkRun]) -> HttpResponse | None:
        """End runs; what they did stays done."""

        def do(run: BulkRun) -> str:
            return bulk.cancel(run.pk, actor=actor_of(request))

        return self.operate(request, queryset, do, "cancelled", audited_elsewhere=True)

    @admin.action(description="Go on: have a worker take it up again", permissions=["operate"])
    def go_on(self, request: HttpRequest, queryset: QuerySet[BulkRun]) -> HttpResponse | None:
        """Send runs to a worker that were lost on their way; harmless for one that is at work."""

        def do(run: BulkRun) -> str:
            if run.status != BulkStatus.RUNNING:
                return f"is {run.status} already."
            if problem := send_run(run.pk):
                raise ReplayError(problem)
            return ""

        return self.operate(request, queryset, do, "sent to a worker", audited_elsewhere=True)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Loads itself again while the run goes on."""
        more = {**(extra_context or {}), "reloads": bool(self.buttons(object_id))}
        return super().change_view(request, object_id, form_url, more)

    @admin.display(description="status")
    def coloured_status(self, run: BulkRun) -> SafeString:
        return display.state(run.status)

    @admin.display(description="progress")
    def progress(self, run: BulkRun) -> str:
        return bulk_progress(run)

    @admin.display(description="done")
    def bar(self, run: BulkRun) -> SafeString:
        return format_html(
            '<progress class="nexus-progress" max="{}" value="{}" aria-label="done">{}</progress>',
            max(1, run.total),
            run.total if run.status == BulkStatus.DONE else run.done + run.failed,
            bulk_progress(run),
        )

    @admin.display(description="dead letters")
    def which(self, run: BulkRun) -> str:
        try:
            return visible(str(DeadLetterFilter.from_plain(run.criteria)))
        except EnvelopeError as error:
            return visible(str(error))

    @admin.display(description="could not be")
    def what_failed(self, run: BulkRun) -> SafeString | str:
        return display.block("\n".join(run.problems)) if run.problems else "-"
