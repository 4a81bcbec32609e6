"""Agents, what they remember, and groups."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from messaging.admin import display
from messaging.admin.base import LogAdmin, ModelAdmin
from messaging.admin.operating import OperatedAdmin
from messaging.core.errors import EnvelopeError, NameTaken
from messaging.core.names import check_agent_name
from messaging.directory.names import refuse_name_of_agent
from messaging.directory.pausing import pause_agent, paused_agents, resume_agent
from messaging.models import (
    POLLED_STATES,
    Agent,
    AgentGroup,
    AgentSetting,
    AgentState,
    AwaitedReply,
    DeadLetter,
    DeadLetterStatus,
    Delivery,
    GroupMember,
    OnceResult,
    Workflow,
)
from messaging.operators.index_state import IndexState
from messaging.operators.paging import MAX_COUNTED
from messaging.operators.telling import TellingAdmin

if TYPE_CHECKING:
    GroupForm = forms.ModelForm[AgentGroup]
    Inline = admin.TabularInline[GroupMember, AgentGroup]
else:
    GroupForm = forms.ModelForm
    Inline = admin.TabularInline


class PausedFilter(admin.SimpleListFilter):
    """Agents that are paused, or are not."""

    title = "paused"
    parameter_name = "paused"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Yes"), ("no", "No")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        paused = AgentSetting.objects.filter(paused=True).values("agent")
        match self.value():
            case "yes":
                return queryset.filter(name__in=paused)
            case "no":
                return queryset.exclude(name__in=paused)
            case _:
                return queryset


def _backlog() -> Counter[str]:
    """Agent → deliveries that are not settled, of the first ``MAX_COUNTED`` that the index has."""
    states = [state.value for state in POLLED_STATES]
    return Counter(Delivery.objects.filter(state__in=states).order_by().values_list("agent", flat=True)[:MAX_COUNTED])


def _dead() -> Counter[str]:
    """Agent → open dead letters, of the first ``MAX_COUNTED``."""
    found = DeadLetter.objects.filter(status=DeadLetterStatus.OPEN).order_by()
    return Counter(found.values_list("agent", flat=True)[:MAX_COUNTED])


def _number(agent: Any, name: str, count: Callable[[], Counter[str]], table: str, query: str) -> SafeString | str:
    """A number with a link to its rows. A list counts once for all its agents, an agent's own page for itself."""
    counted: Counter[str] = getattr(agent, name, None) or count()
    number = counted[agent.name]
    if not number:
        return "0"
    more = "+" if counted.total() >= MAX_COUNTED else ""
    return format_html('<a href="{}?{}">{}{}</a>', reverse(f"admin:nexus_{table}_changelist"), query, number, more)


class AgentList(ChangeList):
    """Agents with what waits for each, counted once for the page."""

    def get_results(self, request: HttpRequest) -> None:
        """The page's rows, each with what was counted."""
        super().get_results(request)
        rows: Any = list(self.result_list)
        backlog, dead = _backlog(), _dead()
        for row in rows:
            row.backlog_found, row.dead_found = backlog, dead
        self.result_list = rows


@admin.register(Agent)
class AgentAdmin(TellingAdmin, OperatedAdmin):
    """Workers write agents at start; one that is gone for good can be deleted, and sending to it is refused then."""

    index_group = "Agents and teams"
    index_states = (
        IndexState(word="paused", rows=lambda: AgentSetting.objects.filter(paused=True), query="paused=yes"),
    )
    operate_permission = "nexus.change_agent"
    takes_effect = "Within 5 seconds sending to it is refused; a worker that has it writes it again when it starts."
    actions = ("pause", "resume")
    change_form_template = "admin/nexus/operated_form.html"
    list_display = (
        "name",
        "handler",
        "switch",
        "backlog",
        "dead",
        "description",
        display.time_column("registered_at", "registered"),
    )
    list_filter = ("kind", PausedFilter)
    search_fields = word_searches = ("name__startswith", "description__icontains")
    ordering = ("name",)
    fields = ("name", "handler", "switch", "pause_note", "backlog", "dead", "description", "registered_at")
    readonly_fields = fields

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As Django's permissions say: agents are no part of the log."""
        return ModelAdmin.has_delete_permission(self, request, obj)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Agents with their switches, in one statement."""
        setting = AgentSetting.objects.filter(agent=OuterRef("pk"))
        found: QuerySet[Any] = super().get_queryset(request).annotate(paused=Subquery(setting.values("paused")))
        return found

    def buttons(self, object_id: str) -> list[tuple[str, str]]:
        """The one that turns its switch."""
        return [("resume", "Resume")] if object_id in paused_agents() else [("pause", "Pause")]

    @admin.action(description="Pause: hold what comes for it", permissions=["operate"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Agent]) -> HttpResponse | None:
        """Let agents take nothing more until they are resumed."""
        paused = set(paused_agents())

        def do(agent: Agent) -> str:
            if agent.name in paused:
                return "is paused already."
            pause_agent(agent.name, user=request.user.get_username())
            return ""

        return self.operate(request, queryset, do, "paused")

    @admin.action(description="Resume: go on, in order", permissions=["operate"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Agent]) -> HttpResponse | None:
        """Let paused agents go on."""
        paused = set(paused_agents())

        def do(agent: Agent) -> str:
            if agent.name not in paused:
                return "is not paused."
            resume_agent(agent.name, user=request.user.get_username())
            return ""

        return self.operate(request, queryset, do, "resumed")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[AgentList]:
        """A list that knows what waits for whom."""
        return AgentList

    @admin.display(description="not handled")
    def backlog(self, agent: Any) -> SafeString | str:
        """What is on its way to it, held for it or at work."""
        return _number(agent, "backlog_found", _backlog, "delivery", f"q={agent.name}")

    @admin.display(description="dead letters")
    def dead(self, agent: Any) -> SafeString | str:
        return _number(agent, "dead_found", _dead, "deadletter", f"q={agent.name}")

    @admin.display(description="kind")
    def handler(self, agent: Agent) -> str:
        return agent.kind or "program"

    @admin.display(description="state")
    def switch(self, agent: Any) -> SafeString | str:
        return display.state("paused") if agent.paused else "-"

    @admin.display(description="paused")
    def pause_note(self, agent: Agent) -> str:
        """Who paused it, when and why."""
        setting = AgentSetting.objects.filter(agent=agent.name, paused=True).first()
        if setting is None:
            return "-"
        by = f" by {setting.changed_by}" if setting.changed_by else ""
        return f"{display.moment(setting.changed_at)}{by}" + (f": {setting.reason}" if setting.reason else "")


@admin.register(AgentState)
class AgentStateAdmin(LogAdmin):
    """What agents remember of workflows."""

    internal = True
    list_display = ("agent", "workflow_link", display.time_column("changed_at", "changed"))
    id_searches = ("workflow",)
    search_help_text = "A workflow's id."
    fields = ("agent", "workflow_link", "changed_at", "content")
    readonly_fields = fields

    @admin.display(description="workflow")
    def workflow_link(self, row: AgentState) -> SafeString:
        return display.link_to(Workflow, row.workflow_id, row.workflow_id.hex[-8:])

    @admin.display(description="state")
    def content(self, row: AgentState) -> SafeString:
        return display.pretty_json(json.loads(row.data))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Lists load no states; a row's own page fetches its one."""
        return super().get_queryset(request).defer("data")


@admin.register(OnceResult)
class OnceResultAdmin(LogAdmin):
    """Results of calls that are not to be repeated."""

    internal = True
    list_display = ("delivery_id", "key", display.time_column("created_at", "created"))
    id_searches = ("delivery_id",)
    search_help_text = "A delivery's id."
    fields = ("delivery_id", "key", "created_at", "content")
    readonly_fields = fields

    @admin.display(description="result")
    def content(self, row: OnceResult) -> SafeString:
        return display.raw_bytes(row.result)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Lists load no results; a row's own page fetches its one."""
        return super().get_queryset(request).defer("result")


@admin.register(AwaitedReply)
class AwaitedReplyAdmin(LogAdmin):
    """Handlers that wait for a reply just now."""

    internal = True
    list_display = ("delivery_id", "attempt", "request_id", display.time_column("since", "since"))
    id_searches = ("delivery_id", "request_id")
    search_help_text = "A delivery's or a message's id."
    fields = ("delivery_id", "attempt", "request_id", "since")
    readonly_fields = fields


class AgentGroupForm(GroupForm):
    """Groups and agents share their names."""

    def clean_name(self) -> str:
        """Refuse what ``bus.create_group`` refuses."""
        name = str(self.cleaned_data["name"])
        try:
            check_agent_name(name)
        except EnvelopeError as error:
            raise forms.ValidationError(error.problem) from None
        try:
            refuse_name_of_agent(name)
        except NameTaken as error:
            raise forms.ValidationError(str(error)) from None
        return name


class GroupMemberInline(Inline):
    model = GroupMember
    autocomplete_fields = ("agent",)
    extra = 1


@admin.register(AgentGroup)
class AgentGroupAdmin(TellingAdmin, ModelAdmin):
    """A message to a group goes to each of its members."""

    index_group = "Agents and teams"
    form = AgentGroupForm
    takes_effect = "It counts for what is sent from now on; what was sent keeps its recipients."
    inlines = (GroupMemberInline,)
    list_display = ("name", "created_at")
    search_fields = ("name__startswith",)
    ordering = ("name",)

    def get_readonly_fields(self, request: HttpRequest, obj: AgentGroup | None = None) -> tuple[Any, ...]:
        """The name is the key: changing it would make a second group."""
        return ("name", "created_at") if obj else ("created_at",)
