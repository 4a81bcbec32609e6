"""Workflows: how far they are, and pausing, resuming and cancelling them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet, Sum
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from messaging.admin import display
from messaging.admin.base import PeriodFilter, parse_uuid
from messaging.admin.operating import MAX_AT_ONCE, OperatedAdmin
from messaging.models import (
    DeadLetter,
    DeadLetterStatus,
    Mailbox,
    Message,
    Workflow,
    WorkflowStatus,
)
from messaging.workflows import life_cycle as workflows

MAX_MAILBOXES = 100
LATEST_MESSAGES = 50
MAX_REASON = 500


def _waiting(chosen: list[Workflow]) -> dict[UUID, int]:
    """Workflow → messages that are not handled yet."""
    counted = Mailbox.objects.filter(workflow__in=[workflow.pk for workflow in chosen]).values("workflow")
    return {
        row["workflow"]: row["all_sent"] - row["all_processed"]
        for row in counted.annotate(all_sent=Sum("sent"), all_processed=Sum("processed"))
    }


@admin.register(Workflow)
class WorkflowAdmin(OperatedAdmin):
    """Conversations and jobs."""

    operate_permission = "nexus.change_workflow"
    actions = ("pause", "resume", "cancel")
    change_form_template = "admin/nexus/operated_form.html"
    list_display = (
        "__str__",
        "coloured_status",
        "sequence",
        display.time_column("created_at", "started"),
        "status_reason",
    )
    list_filter = ("status", PeriodFilter)
    id_searches = ("pk",)
    word_searches = ("name__icontains",)
    time_field = "pk"
    search_help_text = "A workflow's id; or a part of its name (past 7 days)."
    fields = (
        "id",
        "name",
        "coloured_status",
        "status_reason",
        "sequence",
        "mailboxes",
        "dead_letters",
        "messages",
        "max_messages",
        "deadline_at",
        "failure_policy",
        "gap_policy",
        "idle_timeout",
        "idle_policy",
        "deduplication_id",
        "created_at",
        "ended_at",
    )
    readonly_fields = fields

    def buttons(self, object_id: str) -> list[tuple[str, str]]:
        """Those that its status allows."""
        identifier = parse_uuid(object_id)
        workflow = Workflow.objects.filter(pk=identifier).first() if identifier else None
        if workflow is None or not workflow.is_open:
            return []
        change = ("pause", "Pause") if workflow.status == WorkflowStatus.RUNNING else ("resume", "Resume")
        return [change, ("cancel", "Cancel …")]

    def _change(
        self,
        request: HttpRequest,
        chosen: Any,
        status: WorkflowStatus,
        change: Callable[[Workflow], None],
        done: str,
    ) -> HttpResponse | None:
        def do(workflow: Workflow) -> str:
            if workflow.status == status:
                return f"is {status.value} already."
            change(workflow)
            return ""

        return self.operate(request, chosen, do, done)

    @admin.action(description="Pause: hold what is not handled yet", permissions=["operate"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Workflow]) -> HttpResponse | None:
        """Hold workflows until they are resumed."""
        reason = f"by {request.user.get_username()}"
        return self._change(
            request, queryset, WorkflowStatus.PAUSED, lambda workflow: workflows.pause(workflow.pk, reason), "paused"
        )

    @admin.action(description="Resume: go on, in order", permissions=["operate"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Workflow]) -> HttpResponse | None:
        """Let paused and parked workflows go on."""
        return self._change(
            request, queryset, WorkflowStatus.RUNNING, lambda workflow: workflows.resume(workflow.pk), "resumed"
        )

    @admin.action(description="Cancel: end it for good …", permissions=["operate"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Workflow]) -> HttpResponse | None:
        """End workflows, once it is confirmed."""
        if "confirmed" not in request.POST:
            chosen = list(queryset[:MAX_AT_ONCE])
            waiting = _waiting(chosen)
            return self.ask(
                request,
                "cancel",
                "Nothing more is handled in a cancelled workflow, and it cannot be resumed.",
                ("Workflow", "Status", "Not handled yet"),
                [(workflow, workflow.status, waiting.get(workflow.pk, 0)) for workflow in chosen],
                with_reason=True,
            )
        reason = request.POST.get("reason", "").replace("\x00", "").strip()[:MAX_REASON]
        reason = f"by {request.user.get_username()}" + (f": {reason}" if reason else "")
        return self._change(
            request,
            queryset,
            WorkflowStatus.CANCELLED,
            lambda workflow: workflows.cancel(workflow.pk, reason),
            "cancelled",
        )

    @admin.display(description="status")
    def coloured_status(self, workflow: Workflow) -> SafeString:
        return display.state(workflow.status)

    @admin.display(description="mailboxes")
    def mailboxes(self, workflow: Workflow) -> SafeString | str:
        found = Mailbox.objects.filter(workflow=workflow).order_by("agent")[:MAX_MAILBOXES]
        return display.table(
            ("Agent", "Sent to it", "Done", "Not done"),
            ((row.agent, row.sent, row.processed, row.sent - row.processed) for row in found),
            "none",
        )

    @admin.display(description="open dead letters")
    def dead_letters(self, workflow: Workflow) -> SafeString | str:
        found = DeadLetter.objects.filter(workflow=workflow, status=DeadLetterStatus.OPEN).defer("body").order_by("pk")
        return display.table(
            ("Dead letter", "Error", "Since"),
            (
                (display.link(row), display.last_line(row.detail) or row.error, display.moment(row.created_at))
                for row in found[:LATEST_MESSAGES]
            ),
            "none",
        )

    @admin.display(description="latest messages")
    def messages(self, workflow: Workflow) -> SafeString | str:
        found = Message.objects.filter(workflow=workflow).defer("envelope", "signature").order_by("-sequence")
        return display.table(
            ("#", "From", "To", "Type", "At"),
            (
                (
                    display.link(row, str(row.sequence)),
                    row.source,
                    row.subject,
                    row.type,
                    display.moment(row.created_at),
                )
                for row in found[:LATEST_MESSAGES]
            ),
            "none",
        )
