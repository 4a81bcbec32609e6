"""``/start/``: a page on which a person starts a workflow."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.decorators import login_required, permission_required
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from messaging.core import strict_json
from messaging.core.errors import EnvelopeError, SendError
from messaging.models import Agent, AgentGroup
from messaging.operators.teams import MAX_TEXT, SENDER, start_team

MAX_SUGGESTIONS = 200


class StartForm(forms.Form):
    """A workflow and its first message."""

    name = forms.CharField(max_length=MAX_TEXT, label="Name", help_text="What this is about, for people.")
    recipient = forms.CharField(
        max_length=100,
        help_text="The agent or group that gets the first message.",
        widget=forms.TextInput(attrs={"list": "recipients", "autocomplete": "off"}),
    )
    type = forms.CharField(max_length=MAX_TEXT, label="Message type", help_text="Such as audit.start.")
    content = forms.CharField(
        required=False, label="Data", help_text="JSON; empty means null.", widget=forms.Textarea(attrs={"rows": 8})
    )
    # Made with the page: pressing the button twice starts one workflow.
    key = forms.UUIDField(widget=forms.HiddenInput)

    def clean_content(self) -> Any:
        """The data as a JSON value."""
        text = self.cleaned_data["content"].strip()
        if not text:
            return None
        try:
            return strict_json.loads(text.encode())
        except EnvelopeError as error:
            raise forms.ValidationError(f"This is no JSON: {error.problem}") from None


def _place(form: StartForm, error: EnvelopeError) -> tuple[str | None, str]:
    """The field that an error is about, and what is wrong."""
    if error.attribute in form.fields:
        return error.attribute, error.problem
    if error.attribute.startswith("data"):
        return "content", str(error)
    return None, str(error)


def _start(form: StartForm) -> uuid.UUID | None:
    """Start what the form asks for; what the bus refuses becomes an error of the form."""
    values = form.cleaned_data
    try:
        sent = start_team(
            name=values["name"],
            recipient=values["recipient"],
            type=values["type"],
            data=values["content"],
            sender=SENDER,
            deduplication_id=f"form: {values['key']}",
        )
    except EnvelopeError as error:
        form.add_error(*_place(form, error))
    except SendError as error:
        form.add_error(None, str(error))
    except (OperationalError, InterfaceError):
        form.add_error(None, "The database is out of reach; nothing was started. Try again.")
    else:
        return sent.workflow_id
    return None


def _suggestions() -> list[str]:
    agents = Agent.objects.filter(kind__isnull=False).order_by("name").values_list("name", flat=True)
    groups = AgentGroup.objects.order_by("name").values_list("name", flat=True)
    return [*agents[:MAX_SUGGESTIONS], *groups[:MAX_SUGGESTIONS]]


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@permission_required(["nexus.add_workflow", "nexus.add_message"], raise_exception=True)
def start_page(request: HttpRequest) -> HttpResponse:
    """Show the form; start what was filled in."""
    form = StartForm(request.POST) if request.method == "POST" else StartForm(initial={"key": uuid.uuid4()})
    if request.method == "POST" and form.is_valid():
        workflow = _start(form)
        if workflow is not None:
            messages.success(request, f"Workflow “{form.cleaned_data['name']}” ({workflow}) was started.")
            if request.user.has_perm("nexus.view_workflow") and getattr(request.user, "is_staff", False):
                return redirect(reverse("admin:nexus_workflow_change", args=[workflow]))
            return redirect("nexus-start")
    context = {
        **admin.site.each_context(request),
        "title": "Start a workflow",
        "form": form,
        "recipients": _suggestions(),
    }
    return render(request, "nexus/start.html", context, status=400 if form.errors else 200)
