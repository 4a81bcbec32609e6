"""The pages: the list with its form, a workflow, and the same by a link."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from django import forms
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from agents.api import AgentTeamBuilder, ReliableNexusGroupChatManager
from agents.models import ChatSession, Team
from messaging.api import NexusError, ReliableCommunicationBus
from messaging.extension import get_settings
from messaging.operating import Workflow
from nexus_api.streams import is_asgi
from nexus_live.access import MAY_START, SEES_ALL, Visitor, find_workflow
from nexus_live.entrance import LOGIN, page, visitor_of
from nexus_live.models import ShareLink, WorkflowViewer
from nexus_live.sharing import invite, note_act

MAX_LISTED = 50
MAX_TEAMS = 500
MAX_TASK = 50_000


def _teams() -> list[tuple[str, str]]:
    names = Team.objects.order_by("name").values_list("name", flat=True)[:MAX_TEAMS]
    return [(name, name) for name in names]


class StartTeamForm(forms.Form):
    """A team and its task."""

    team = forms.ChoiceField(choices=_teams)
    name = forms.CharField(max_length=200, help_text="What this is about, for people.")
    task = forms.CharField(max_length=MAX_TASK, widget=forms.Textarea(attrs={"rows": 5}))
    # Made with the page: pressing the button twice starts one chat.
    key = forms.UUIDField(widget=forms.HiddenInput)


class LiveLoginView(LoginView):
    """For users who may not enter the admin, too."""

    template_name = "nexus_live/login.html"

    def get_default_redirect_url(self) -> str:
        return reverse("nexus_live:index")


def _listed(visitor: Visitor) -> list[Workflow]:
    rows = Workflow.objects.order_by("-pk")
    if not visitor.may(*SEES_ALL):
        seen = WorkflowViewer.objects.filter(user_id=visitor.user.pk).order_by("-pk")
        rows = rows.filter(pk__in=list(seen.values_list("workflow_id", flat=True)[:1_000]))
    return list(rows[:MAX_LISTED])


def _start(form: StartTeamForm, request: HttpRequest) -> UUID | None:
    values = form.cleaned_data
    bus = ReliableCommunicationBus()
    try:
        with transaction.atomic():
            workflow = ReliableNexusGroupChatManager(bus).start_chat(
                AgentTeamBuilder(bus).build_team(values["team"]),
                values["task"],
                name=values["name"],
                deduplication_id=f"live: {request.user.pk}: {values['key']}",
            )
            note_act(request.user, "start", workflow)
            if not request.user.has_perms(SEES_ALL):
                invite(workflow, request.user, request.user)
    except NexusError as error:
        form.add_error(None, str(error))
        return None
    return workflow


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@login_required(login_url=LOGIN)
def index(request: HttpRequest) -> HttpResponse:
    """What the user sees, and a form that starts a team."""
    visitor = Visitor(user=request.user)
    may_start = visitor.may(*MAY_START)
    form = None
    if request.method == "POST":
        if not may_start:
            raise PermissionDenied("You may not start a team: nexus.add_workflow or nexus.add_message is missing.")
        form = StartTeamForm(request.POST)
        if form.is_valid():
            workflow = _start(form, request)
            if workflow is not None:
                return redirect("nexus_live:page", workflow_id=workflow)
    elif may_start:
        form = StartTeamForm(initial={"key": uuid4()})
    context = {"form": form, "workflows": _listed(visitor), "most": MAX_LISTED}
    return render(request, "nexus_live/index.html", context, status=400 if form and form.errors else 200)


@page
def workflow_page(request: HttpRequest, workflow_id: UUID) -> HttpResponseBase:
    """A workflow as it goes on."""
    return _show(request, Visitor(user=request.user), workflow_id, "")


@require_safe
@never_cache
def shared_page(request: HttpRequest, token: str) -> HttpResponseBase:
    """The same for whoever has a link: to read."""
    visitor = visitor_of(request, token)
    if visitor.link is None:
        raise Http404("This link does not hold, or holds no longer.")
    response = _show(request, visitor, visitor.link.workflow_id, token)
    response["Referrer-Policy"] = "no-referrer"
    response["X-Robots-Tag"] = "noindex"
    return response


def _show(request: HttpRequest, visitor: Visitor, workflow_id: UUID, place: str) -> HttpResponse:
    workflow = find_workflow(visitor, workflow_id)
    chat = ChatSession.objects.filter(pk=workflow_id).first()
    by = {"token": place} if visitor.link is not None else {"workflow_id": workflow_id}
    names = ("shared-events", "shared-poll") if visitor.link is not None else ("events", "poll")
    context: dict[str, Any] = {
        "workflow": workflow,
        "chat": chat,
        "visitor": visitor,
        "key": uuid4(),
        "events": reverse(f"nexus_live:{names[0]}", kwargs=by),
        "poll": reverse(f"nexus_live:{names[1]}", kwargs=by),
        "transport": "stream" if is_asgi(request) else "poll",
        "most_hours": int(get_settings().live_link_life // 3_600),
    }
    if visitor.may_share:
        links = ShareLink.objects.filter(workflow_id=workflow_id, revoked_at=None, expires_at__gt=timezone.now())
        context["links"] = links.select_related("created_by").order_by("expires_at")
    if visitor.may_invite:
        viewers = WorkflowViewer.objects.filter(workflow_id=workflow_id).select_related("user").order_by("pk")
        context["viewers"] = viewers[:200]
    return render(request, "nexus_live/workflow.html", context)
