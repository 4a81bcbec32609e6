"""Workflows: how far they are, and what operators do with them."""

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
from messaging.admin.operating import MAX_AT_ONCE
from messaging.admin.workflow_acts import MAX_REASON, WorkflowActs
from messaging.admin.workflow_page import page_context
from messaging.models import (
    Mailbox,
    Workflow,
    WorkflowStatus,
)
from messaging.operators import mending
from messaging.operators.index_state import IndexState
from messaging.workflows import life_cycle as workflows


def _waiting(chosen: list[Workflow]) -> dict[UUID, int]:
    """Workflow → messages that are not handled yet."""
    counted = Mailbox.objects.filter(workflow__in=[workflow.pk for workflow in chosen]).values("workflow")
    return {
        row["workflow"]: row["all_sent"] - row["all_processed"]
        for row in counted.annotate(all_sent=Sum("sent"), all_processed=Sum("processed"))
    }


@admin.register(Workflow)
class WorkflowAdmin(WorkflowActs):
    """Conversations and jobs."""

    index_group = "Work"
    index_states = (
        IndexState(
            word="parked",
            rows=lambda: Workflow.objects.filter(status=WorkflowStatus.PARKED),
            query="status__exact=parked",
            wrong=True,
        ),
        IndexState(
            word="paused",
            rows=lambda: Workflow.objects.filter(status=WorkflowStatus.PAUSED),
            query="status__exact=paused",
        ),
    )
    operate_permission = "nexus.change_workflow"
    actions = ("pause", "resume", "release", "replay_missing", "cancel")
    change_form_template = "admin/nexus/workflow/change_form.html"
    list_display = (
        "__str__",
        "coloured_status",
        "sequence",
        display.time_column("created_at", "started"),
        "why",
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
        cancel = ("cancel", "Cancel …")
        if workflow.status != WorkflowStatus.RUNNING:
            return [("resume", "Resume"), cancel]
        return [("pause", "Pause"), ("release", "Release"), ("replay_missing", "Replay missing"), cancel]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> Any:
        """With how far it is, its messages and their picture."""
        identifier = parse_uuid(object_id)
        workflow = Workflow.objects.filter(pk=identifier).first() if identifier else None
        more: dict[str, Any] = {}
        if workflow is not None and self.has_view_permission(request, workflow):
            more = page_context(request, workflow, may_operate=self.has_operate_permission(request))
        return super().change_view(request, object_id, form_url, {**more, **(extra_context or {})})

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

    @admin.action(description="Release: publish what is held now", permissions=["operate"])
    def release(self, request: HttpRequest, queryset: QuerySet[Workflow]) -> HttpResponse | None:
        """Let what is held come at once."""

        def do(workflow: Workflow) -> str:
            mending.release(workflow.pk)
            return ""

        return self.operate(request, queryset, do, "released")

    @admin.action(description="Replay missing: publish again what is waited for", permissions=["operate"])
    def replay_missing(self, request: HttpRequest, queryset: QuerySet[Workflow]) -> HttpResponse | None:
        """Publish again what mailboxes wait for."""

        def do(workflow: Workflow) -> str:
            return "" if mending.replay_missing(workflow.pk) else "waits for nothing that was sent."

        return self.operate(request, queryset, do, "replayed")

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

    @admin.display(description="status reason")
    def why(self, workflow: Workflow) -> str:
        """The whole of it: its end often says what to do."""
        return workflow.status_reason
