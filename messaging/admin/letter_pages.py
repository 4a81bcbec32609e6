"""Pages beside the list of dead letters: groups of one cause, bulk runs, and editing one."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from messaging.admin import display
from messaging.admin.operating import OperatedAdmin, actor_of
from messaging.core.envelope import parse_envelope
from messaging.core.errors import EnvelopeError, NexusError
from messaging.core.strict_json import loads
from messaging.models import BulkAction, BulkRun, DeadLetter, DeadLetterNote, DeadReason
from messaging.operators import bulk
from messaging.operators.dead_letter_groups import dead_letter_groups, note_group
from messaging.operators.dead_letters import DeadLetterFilter
from messaging.operators.editing import edit_and_replay, may_edit
from messaging.operators.reading import PERMISSION, read_encrypted
from messaging.tasks.bulk import send_run

MAX_GROUPS = 100
MAX_SAID = 500


def may_edit_here(request: HttpRequest) -> bool:
    """Whether the user may change what a dead letter's message says."""
    return request.user.has_perms(["nexus.change_deadletter", "nexus.edit_deadletter"])


def _context(page: OperatedAdmin, request: HttpRequest, title: str, **more: Any) -> dict[str, Any]:
    return {
        **page.admin_site.each_context(request),
        "title": title,
        "opts": page.opts,
        "media": page.media,
        "may_operate": page.has_operate_permission(request),
        **more,
    }


def groups(page: OperatedAdmin, request: HttpRequest) -> HttpResponse:
    """Open dead letters by cause; a note is posted here."""
    if not page.has_view_permission(request):
        raise PermissionDenied
    if request.method == "POST":
        return _note(page, request)
    found = dead_letter_groups(limit=MAX_GROUPS + 1)
    notes = DeadLetterNote.objects.in_bulk([group.key for group in found])
    examples = DeadLetter.objects.only("detail").in_bulk([group.example for group in found])
    rows = [
        (
            group,
            display.said_by(examples[group.example].detail)[:MAX_SAID] if group.example in examples else "",
            notes.get(group.key),
        )
        for group in found[:MAX_GROUPS]
    ]
    context = _context(page, request, "Dead letters by cause", groups=rows, more=len(found) > MAX_GROUPS)
    return TemplateResponse(request, "admin/nexus/dead_letter_groups.html", context)


def _note(page: OperatedAdmin, request: HttpRequest) -> HttpResponse:
    if not page.has_operate_permission(request):
        raise PermissionDenied
    like = request.POST.get("like", "")
    try:
        text = request.POST.get("note", "").replace("\r\n", "\n")
        note_group(int(like) if like.isdecimal() else 0, text, actor=actor_of(request))
    except NexusError as error:
        page.message_user(request, str(error), messages.ERROR)
    else:
        page.message_user(request, "The note is saved." if text.strip() else "The note is removed.", messages.SUCCESS)
    return HttpResponseRedirect(reverse("admin:nexus_deadletter_groups"))


class BulkForm(forms.Form):
    """What a bulk run does, and to which dead letters."""

    action = forms.ChoiceField(choices=BulkAction.choices)
    like = forms.IntegerField(
        required=False, min_value=1, label="With the same cause as", help_text="The number of a dead letter."
    )
    agent = forms.CharField(required=False, max_length=100, help_text="The exact name of the recipient.")
    message_type = forms.CharField(required=False, max_length=200, help_text="The exact type.")
    workflow = forms.UUIDField(required=False, help_text="The id of a workflow.")
    cause = forms.ChoiceField(required=False, choices=[("", "any"), *DeadReason.choices], label="Stopped because")
    everything = forms.BooleanField(required=False, label="All that are open, whatever they are")
    rate = forms.FloatField(
        initial=50, min_value=bulk.MIN_RATE, max_value=bulk.MAX_RATE, help_text="Dead letters a second, at most."
    )
    reason = forms.CharField(max_length=500, help_text="For whoever reads the audit later.")

    def clean(self) -> dict[str, Any]:
        """Refuse a run over everything that nobody asked for."""
        cleaned = super().clean() or {}
        if not self.errors:
            try:
                self.chosen = _chosen(cleaned)
            except NexusError as error:
                raise forms.ValidationError(str(error)) from None
            if not self.chosen.as_plain() and not cleaned["everything"]:
                raise forms.ValidationError("Say which ones, or that you mean all of them.")
        return cleaned


def _chosen(cleaned: dict[str, Any]) -> DeadLetterFilter:
    workflow: UUID | None = cleaned["workflow"]
    return DeadLetterFilter(
        agent=cleaned["agent"],
        message_type=cleaned["message_type"],
        workflow=workflow,
        reason=cleaned["cause"],
        group=DeadLetterFilter.like(cleaned["like"]).group if cleaned["like"] else (),
    )


def bulk_runs(page: OperatedAdmin, request: HttpRequest) -> HttpResponse:
    """Look at what a bulk run would come to, and begin it."""
    if not page.has_operate_permission(request):
        raise PermissionDenied
    if request.method != "POST":
        form = BulkForm(initial={"like": request.GET.get("like", "")})
        return _bulk_page(page, request, form)
    form = BulkForm(request.POST)
    if not form.is_valid():
        return _bulk_page(page, request, form)
    if "begin" not in request.POST:
        return _bulk_page(page, request, form, looked=True)
    wanted = form.cleaned_data
    try:
        run = bulk.begin(
            wanted["action"], form.chosen, actor=actor_of(request), reason=wanted["reason"], rate=wanted["rate"]
        )
    except NexusError as error:
        form.add_error(None, str(error))
        return _bulk_page(page, request, form)
    if problem := send_run(run.pk):
        page.message_user(request, problem, messages.ERROR)
    return HttpResponseRedirect(reverse("admin:nexus_bulkrun_change", args=[run.pk]))


def _bulk_page(page: OperatedAdmin, request: HttpRequest, form: BulkForm, *, looked: bool = False) -> HttpResponse:
    preview = bulk.preview(form.chosen) if looked else None
    sample = [
        (display.link(letter), letter, display.last_line(letter.detail) or letter.error)
        for letter in (preview.sample if preview else ())
    ]
    context = _context(
        page,
        request,
        "Replay or discard dead letters in bulk",
        form=form,
        preview=preview,
        sample=sample,
        chosen=str(form.chosen) if looked else "",
        verb=form.cleaned_data["action"] if looked else "",
        most=bulk.MAX_COUNTED,
    )
    return TemplateResponse(request, "admin/nexus/bulk.html", context)


class EditForm(forms.Form):
    """The data of an edited message."""

    content = forms.CharField(
        label="Data",
        widget=forms.Textarea(attrs={"rows": 20, "spellcheck": "false"}),
        strip=False,
        help_text="JSON.",
    )
    reason = forms.CharField(max_length=500, help_text="What is wrong with the first one, for the audit.")

    def clean_content(self) -> Any:
        """The value that the text is."""
        try:
            return loads(self.cleaned_data["content"].strip().encode("utf-8", "surrogatepass"))
        except EnvelopeError as error:
            raise forms.ValidationError(str(error).removeprefix("envelope: ")) from None


def edit(page: OperatedAdmin, request: HttpRequest, letter_id: int) -> HttpResponse:
    """Send an open dead letter's message with other data."""
    if not may_edit_here(request):
        raise PermissionDenied
    letter = DeadLetter.objects.filter(pk=letter_id).first() if letter_id < 2**63 else None
    if letter is None:
        raise Http404
    own_page = HttpResponseRedirect(reverse("admin:nexus_deadletter_change", args=[letter.pk]))
    try:
        envelope = parse_envelope(bytes(letter.body), max_bytes=2**31)
    except EnvelopeError:
        envelope = None
    if envelope is None or not may_edit(letter):
        page.message_user(request, f"{letter} cannot be edited and replayed.", messages.ERROR)
        return own_page
    if envelope.is_encrypted and not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    try:
        first = read_encrypted(envelope, DeadLetter, letter.pk, actor=actor_of(request))
    except NexusError as error:
        page.message_user(request, str(error), messages.WARNING)
        first = None
    form = EditForm(request.POST or None, initial={"content": json.dumps(first, indent=2, ensure_ascii=False)})
    if request.method == "POST" and form.is_valid():
        try:
            sent = edit_and_replay(
                letter.pk, form.cleaned_data["content"], actor=actor_of(request), reason=form.cleaned_data["reason"]
            )
        except NexusError as error:
            form.add_error(None, str(error))
        else:
            said = f"Message #{sent.sequence} ({sent.id}) takes the place of the one that died."
            page.log_change(request, letter, said)
            page.message_user(request, said, messages.SUCCESS)
            return own_page
    locked = [
        ("From", envelope.source),
        ("To", envelope.subject),
        ("Type", envelope.type),
        ("Reply to", envelope.correlationid or "-"),
        ("Expires", display.moment(envelope.expirytime)),
    ]
    context = _context(page, request, "Edit and replay", form=form, letter=letter, locked=locked)
    return TemplateResponse(request, "admin/nexus/edit_letter.html", context)


def bulk_progress(run: BulkRun) -> str:
    """How far a run is, in words."""
    left = max(0, run.total - run.done - run.failed)
    failed = f", {run.failed} could not be" if run.failed else ""
    return f"{run.done} of {run.total} done{failed}" + (f", about {left} left" if left and not run.ended_at else "")
