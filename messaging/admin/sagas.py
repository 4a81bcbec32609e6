"""Sagas: how they stand, a picture of their steps, and their journal."""

from __future__ import annotations

import msgspec
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from messaging.admin import diagram, display
from messaging.admin.base import LogAdmin, PeriodFilter, parse_uuid
from messaging.admin.operating import MAX_AT_ONCE, OperatedAdmin
from messaging.models import JournalEntry, SagaRun, SagaStatus
from messaging.operators.index_state import IndexState
from messaging.sending.reliable_bus import ReliableCommunicationBus
from messaging.transactions.plan import SagaPlan
from messaging.transactions.sagas import Sagas
from messaging.transactions.state import PARKED, SagaState

MAX_ENTRIES = 500
MAX_REASON = 500
CONSEQUENCES = {
    "approve": "Each step of these sagas that waits for a person is done, and they go on.",
    "deny": "What waits for a person in these sagas fails: they compensate, or are parked behind their pivot.",
    "cancel": "What these sagas have done is undone. One whose pivot is done is not cancelled.",
    "retry": "Each parked step of these sagas is tried again.",
    "skip": "Each parked step of these sagas stays as it is, and they go on.",
    "force": "These sagas end as they stand: nothing is done or undone any more.",
}


@admin.register(SagaRun)
class SagaRunAdmin(OperatedAdmin):
    """Runs of sagas."""

    index_group = "Work"
    index_states = (
        IndexState(
            word="parked",
            rows=lambda: SagaRun.objects.filter(status=SagaStatus.PARKED),
            query="status__exact=parked",
            wrong=True,
        ),
        IndexState(
            word="waiting",
            rows=lambda: SagaRun.objects.filter(status=SagaStatus.WAITING),
            query="status__exact=waiting",
        ),
    )
    operate_permission = "nexus.change_sagarun"
    actions = ("approve", "deny", "cancel", "retry", "skip", "force")
    change_form_template = "admin/nexus/operated_form.html"
    list_display = ("__str__", "status", display.time_column("started_at", "started"), "reason")
    list_filter = ("status", PeriodFilter)
    id_searches = ("pk",)
    word_searches = ("name__icontains",)
    time_field = "pk"
    search_help_text = "A saga's id; or a part of its name (past 7 days)."
    fields = ("id", "name", "version", "status", "reason", "picture", "steps", "journal", "started_at", "changed_at")
    readonly_fields = fields

    @admin.display(description="steps")
    def picture(self, saga: SagaRun) -> SafeString:
        entries = JournalEntry.objects.filter(workflow_id=saga.pk).exclude(step="").order_by("number")
        return diagram.draw(*_read(saga), diagram.times_of(entries.values_list("step", "at")[:MAX_ENTRIES]))

    @admin.display(description="errors and results")
    def steps(self, saga: SagaRun) -> SafeString | str:
        _, state = _read(saga)
        late = Sagas(ReliableCommunicationBus()).status(saga.pk).late
        rows = [
            (name, run.state, run.error, run.attempt, run.undo_attempt, late.get(name, ""))
            for name, run in state.steps.items()
        ]
        return display.table(("step", "state", "last error", "calls", "calls to undo", "after its end"), rows, "none")

    @admin.display(description="journal")
    def journal(self, saga: SagaRun) -> SafeString | str:
        entries = JournalEntry.objects.filter(workflow_id=saga.pk).order_by("-number")[:MAX_ENTRIES]
        rows = [
            (
                entry.number,
                f"{entry.at:%Y-%m-%d %H:%M:%S.%f}",
                entry.event,
                entry.step,
                f"{entry.before} → {entry.after}" if entry.after else "",
                entry.actor,
                entry.detail if entry.detail != "{}" else "",
            )
            for entry in entries
        ]
        return display.table(("", "time", "event", "step", "state", "by", ""), rows, "none")

    def buttons(self, object_id: str) -> list[tuple[str, str]]:
        """Those that its status allows."""
        identifier = parse_uuid(object_id)
        status = SagaRun.objects.filter(pk=identifier).values_list("status", flat=True).first() if identifier else None
        match status:
            case SagaStatus.WAITING:
                return [("approve", "Approve …"), ("deny", "Deny …"), ("cancel", "Cancel …"), ("force", "Force …")]
            case SagaStatus.RUNNING:
                return [("cancel", "Cancel …"), ("force", "Force …")]
            case SagaStatus.COMPENSATING:
                return [("force", "Force …")]
            case SagaStatus.PARKED:
                return [("retry", "Retry …"), ("skip", "Skip …"), ("force", "Force …")]
            case _:
                return []

    @admin.action(description="Approve what waits for a person …", permissions=["operate"])
    def approve(self, request: HttpRequest, queryset: QuerySet[SagaRun]) -> HttpResponse | None:
        """Say yes."""
        return self._ask_and_operate(request, queryset, "approve", "approved")

    @admin.action(description="Deny what waits for a person …", permissions=["operate"])
    def deny(self, request: HttpRequest, queryset: QuerySet[SagaRun]) -> HttpResponse | None:
        """Say no."""
        return self._ask_and_operate(request, queryset, "deny", "denied")

    @admin.action(description="Cancel: undo what was done …", permissions=["operate"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[SagaRun]) -> HttpResponse | None:
        """Have sagas compensate."""
        return self._ask_and_operate(request, queryset, "cancel", "cancelled")

    @admin.action(description="Retry parked steps …", permissions=["operate"])
    def retry(self, request: HttpRequest, queryset: QuerySet[SagaRun]) -> HttpResponse | None:
        """Try parked steps again."""
        return self._ask_and_operate(request, queryset, "retry", "told to try again")

    @admin.action(description="Skip parked steps …", permissions=["operate"])
    def skip(self, request: HttpRequest, queryset: QuerySet[SagaRun]) -> HttpResponse | None:
        """Leave parked steps as they are."""
        return self._ask_and_operate(request, queryset, "skip", "told to go on without them")

    @admin.action(description="Force: end as it stands …", permissions=["operate"])
    def force(self, request: HttpRequest, queryset: QuerySet[SagaRun]) -> HttpResponse | None:
        """End sagas as they stand."""
        return self._ask_and_operate(request, queryset, "force", "told to end")

    def _ask_and_operate(
        self, request: HttpRequest, queryset: QuerySet[SagaRun], action: str, done: str
    ) -> HttpResponse | None:
        reason = request.POST.get("reason", "").replace("\x00", "").strip()[:MAX_REASON]
        if not reason:
            rows = [(saga, saga.status, saga.reason) for saga in queryset[:MAX_AT_ONCE]]
            head = ("saga", "status", "reason")
            return self.ask(request, action, CONSEQUENCES[action], head, rows, with_reason=True)
        sagas, actor = Sagas(ReliableCommunicationBus()), request.user.get_username()

        def operate(saga: SagaRun) -> str:
            if action in ("cancel", "force"):
                getattr(sagas, action)(saga.pk, reason, actor=actor)
                return ""
            view = sagas.status(saga.pk)
            asked = action in ("approve", "deny")
            names = view.asking if asked else [name for name, state in view.steps.items() if state == PARKED]
            for name in names:
                getattr(sagas, action)(saga.pk, name, reason, actor=actor)
            return "" if names else f"has no step that {'waits for a person' if asked else 'is parked'}."

        return self.operate(request, queryset, operate, done)


def _read(saga: SagaRun) -> tuple[SagaPlan, SagaState]:
    return msgspec.json.decode(saga.plan, type=SagaPlan), msgspec.json.decode(saga.state, type=SagaState)


@admin.register(JournalEntry)
class JournalEntryAdmin(LogAdmin):
    """What happened in all sagas."""

    list_display = (
        "workflow_id",
        "number",
        display.time_column("at", "time"),
        "event",
        "step",
        "before",
        "after",
        "actor",
    )
    id_searches = ("workflow_id",)
    search_help_text = "A saga's id."
