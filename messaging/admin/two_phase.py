"""Two-phase commits: which are in doubt, for how long, and deciding them."""

from __future__ import annotations

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.safestring import SafeString

from messaging.admin import display
from messaging.admin.base import LogAdmin, PeriodFilter, parse_uuid
from messaging.admin.operating import MAX_AT_ONCE, OperatedAdmin
from messaging.models import (
    OPEN_TWO_PHASE,
    JournalEntry,
    TwoPhaseBranch,
    TwoPhaseInstallation,
    TwoPhaseRun,
    TwoPhaseStatus,
)
from messaging.operators.index_state import IndexState
from messaging.transactions.two_phase import operating

MAX_ENTRIES = 500
MAX_REASON = 500
CONSEQUENCES = {
    "commit": "Every participant of these commits what it has prepared. Only where you know that this was decided.",
    "abort": "Every participant of these rolls back what it has prepared. Only where you know that none has committed.",
}


@admin.register(TwoPhaseRun)
class TwoPhaseRunAdmin(OperatedAdmin):
    """Runs, and a page of what is prepared, which shows what the database forgot too."""

    index_group = "Work"
    index_states = (
        IndexState(
            word="in doubt",
            rows=lambda: TwoPhaseRun.objects.filter(status=TwoPhaseStatus.IN_DOUBT),
            query="status__exact=in_doubt",
            wrong=True,
        ),
    )
    operate_permission = "nexus.change_twophaserun"
    actions = ("commit", "abort")
    change_form_template = "admin/nexus/operated_form.html"
    list_display = ("__str__", "status", "age", display.time_column("started_at", "started"), "reason")
    list_filter = ("status", PeriodFilter)
    id_searches = ("pk",)
    word_searches = ("name__icontains",)
    time_field = "pk"
    search_help_text = "A run's id; or a part of its name (past 7 days)."
    fields = (
        "id",
        "name",
        "status",
        "decision",
        "reason",
        "age",
        "participants",
        "journal",
        "started_at",
        "deadline_at",
    )
    readonly_fields = fields

    @admin.display(description="open for")
    def age(self, run: TwoPhaseRun) -> str:
        return f"{(timezone.now() - run.started_at).total_seconds():.0f} s" if run.status in OPEN_TWO_PHASE else ""

    @admin.display(description="participants")
    def participants(self, run: TwoPhaseRun) -> SafeString | str:
        rows = run.branches.order_by("pk").values_list("name", "state", "database", "agent", "xid", "reason")
        return display.table(("participant", "state", "database", "agent", "prepared as", ""), rows, "none")

    @admin.display(description="journal")
    def journal(self, run: TwoPhaseRun) -> SafeString | str:
        entries = JournalEntry.objects.filter(workflow_id=run.pk).order_by("-number")[:MAX_ENTRIES]
        rows = [
            (each.number, f"{each.at:%Y-%m-%d %H:%M:%S.%f}", each.event, each.step, each.after, each.actor, each.detail)
            for each in entries
        ]
        return display.table(("", "time", "event", "participant", "state", "by", ""), rows, "none")

    def get_urls(self) -> list[URLPattern]:
        """With the page of what is prepared."""
        page = self.admin_site.admin_view(self.in_doubt)
        return [path("in-doubt/", page, name="nexus_twophaserun_in_doubt"), *super().get_urls()]

    def in_doubt(self, request: HttpRequest) -> HttpResponse:
        """What is prepared in the databases, the oldest first."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        listed, problems = operating.in_doubt()
        rows = [(f"{each.age:.0f} s", each.status, _link_to_run(each), each.database, each.xid) for each in listed]
        head = ("since", "status", "two-phase commit", "database", "prepared as")
        context = {
            **self.admin_site.each_context(request),
            "title": "Prepared now",
            "table": display.table(head, rows, "Nothing is prepared."),
            "problems": problems,
        }
        return TemplateResponse(request, "admin/nexus/in_doubt.html", context)

    def buttons(self, object_id: str) -> list[tuple[str, str]]:
        """Those that its status allows."""
        identifier = parse_uuid(object_id)
        run = TwoPhaseRun.objects.filter(pk=identifier).first() if identifier else None
        match run.status if run is not None else "":
            case TwoPhaseStatus.IN_DOUBT:
                return [("commit", "Commit …"), ("abort", "Abort …")]
            case TwoPhaseStatus.PREPARING:
                return [("abort", "Abort …")]
            case _:
                return []

    @admin.action(description="Commit what is in doubt …", permissions=["operate"])
    def commit(self, request: HttpRequest, queryset: QuerySet[TwoPhaseRun]) -> HttpResponse | None:
        """Decide for them."""
        return self._ask_and_decide(request, queryset, "commit")

    @admin.action(description="Abort what is in doubt …", permissions=["operate"])
    def abort(self, request: HttpRequest, queryset: QuerySet[TwoPhaseRun]) -> HttpResponse | None:
        """Decide against them."""
        return self._ask_and_decide(request, queryset, "abort")

    def _ask_and_decide(
        self, request: HttpRequest, queryset: QuerySet[TwoPhaseRun], action: str
    ) -> HttpResponse | None:
        reason = request.POST.get("reason", "").replace("\x00", "").strip()[:MAX_REASON]
        if not reason:
            rows = [(run, run.status, run.reason) for run in queryset[:MAX_AT_ONCE]]
            head = ("two-phase commit", "status", "reason")
            return self.ask(request, action, CONSEQUENCES[action], head, rows, with_reason=True)
        actor = request.user.get_username()

        def decide(run: TwoPhaseRun) -> str:
            if run.status not in (TwoPhaseStatus.IN_DOUBT, TwoPhaseStatus.PREPARING):
                return f"is {run.status}: there is nothing to decide."
            branch = run.branches.first()
            if branch is not None:
                operating.resolve(branch.xid, commit=action == "commit", reason=reason, actor=actor)
            return ""

        return self.operate(request, queryset, decide, "decided")


def _link_to_run(each: operating.InDoubt) -> SafeString | str:
    if each.status == operating.UNKNOWN:
        return each.run
    return display.link_to(TwoPhaseRun, each.run, each.name)


@admin.register(TwoPhaseBranch)
class TwoPhaseBranchAdmin(LogAdmin):
    """Participants of all runs."""

    index_group = "Work"
    list_display = ("xid", "state", "database", "agent", "reason")
    list_filter = ("state",)
    id_searches = ("run",)
    search_help_text = "A run's id."


@admin.register(TwoPhaseInstallation)
class TwoPhaseInstallationAdmin(LogAdmin):
    """By what this installation's prepared transactions are known."""

    list_display = ("identifier", "epoch")
