"""What waits for a person, and its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from agents.admin.transcripts import places_of, transcript_of
from agents.chat.hosts.approval import answer_approval
from agents.chat.hosts.workflows import of_workflow
from agents.models import Approval, ApprovalPurpose, ApprovalStatus
from messaging.api import NexusError
from messaging.extension import BoundedPaginator, IndexState, TellingAdmin, time_column, time_field

if TYPE_CHECKING:
    ApprovalAdminBase = admin.ModelAdmin[Approval]
    ApprovalFormBase = forms.ModelForm[Approval]
else:
    ApprovalAdminBase = admin.ModelAdmin
    ApprovalFormBase = forms.ModelForm


MAX_SUMMARY = 120
"""Characters of what is asked, in a list."""


class ApprovalForm(ApprovalFormBase):
    """The answer to an approval."""

    decision = forms.ChoiceField(choices=[("yes", "Yes, approve"), ("no", "No, reject")], widget=forms.RadioSelect)
    text = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="A comment; for an input what you say; for the choice of a speaker its name.",
    )

    class Meta:
        model = Approval
        fields: list[str] = []

    def clean(self) -> dict[str, Any]:
        """Refuse a speaker who is not there to choose."""
        cleaned = super().clean() or {}
        chooses = self.instance.purpose == ApprovalPurpose.SPEAKER and cleaned.get("decision") == "yes"
        if chooses and cleaned.get("text") not in self.instance.options:
            self.add_error("text", f"Choose one of {', '.join(self.instance.options)}.")
        return cleaned


class _Refused(Exception):
    """An answer was not taken."""


@admin.register(Approval)
class ApprovalAdmin(TellingAdmin, ApprovalAdminBase):
    """What waits for a person, and its answer."""

    form = ApprovalForm
    index_group = "Waits for people"
    index_states = (
        IndexState(
            word="waiting",
            rows=lambda: Approval.objects.filter(status=ApprovalStatus.WAITING),
            query="status__exact=waiting",
            wrong=True,
        ),
    )
    takes_effect = "The answer is sent to who asked, at once."
    paginator = BoundedPaginator
    list_per_page = 50
    list_display = (
        "asked",
        "member",
        "of_what",
        "purpose",
        "status",
        "answered_by",
        time_column("created_at", "Asked at"),
        time_column("deadline_at", "Until"),
    )
    list_filter = ("status", "purpose")
    search_fields = ("member", "question")
    show_full_result_count = False
    actions = ("approve",)
    shown = (
        "of_what",
        "places",
        "purpose",
        "member",
        "question",
        "what_it_is_about",
        "choices",
        "status",
        time_field("created_at", "Asked at"),
        time_field("deadline_at", "Until"),
    )
    answered = ("answer", "answered_by", time_field("answered_at", "Answered at"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Approval]:
        """With the name of the workflow, in the same query."""
        found: QuerySet[Approval] = super().get_queryset(request)
        return found.annotate(workflow_name=of_workflow(Approval, "name"))

    @admin.display(description="What is asked")
    def asked(self, obj: Approval) -> str:
        """What tells this one from others: the question, and the beginning of what it is about."""
        text = ": ".join(part for part in (obj.question, " ".join(obj.content[: 2 * MAX_SUMMARY].split())) if part)
        return text if len(text) <= MAX_SUMMARY else f"{text[:MAX_SUMMARY]}…"

    @admin.display(description="Workflow")
    def of_what(self, obj: Approval) -> str:
        """The workflow's name; its id where it was removed from the log."""
        return str(getattr(obj, "workflow_name", None) or obj.workflow_id)

    @admin.display(description="Pages")
    def places(self, obj: Approval) -> SafeString:
        """Where to look further."""
        return places_of(obj.workflow_id)

    @admin.display(description="What it is about")
    def what_it_is_about(self, obj: Approval) -> SafeString | str:
        """The content as it is."""
        return format_html('<div class="nexus-said">{}</div>', obj.content) if obj.content else "-"

    @admin.display(description="Options")
    def choices(self, obj: Approval) -> str:
        """What to choose from."""
        return ", ".join(map(str, obj.options)) or "-"

    @admin.display(description="Transcript")
    def transcript(self, obj: Approval) -> SafeString | str:
        """What was said before."""
        return transcript_of(obj.workflow_id)

    def get_readonly_fields(self, request: HttpRequest, obj: Approval | None = None) -> tuple[Any, ...]:
        return (*self.shown, *self.answered, "transcript")

    def get_fields(self, request: HttpRequest, obj: Approval | None = None) -> tuple[Any, ...]:
        waits = obj is not None and obj.status == ApprovalStatus.WAITING
        return (*self.shown, *(("decision", "text") if waits else self.answered), "transcript")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Approval | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Approval | None = None) -> bool:
        allowed = super().has_change_permission(request, obj)
        return allowed and (obj is None or obj.status == ApprovalStatus.WAITING)

    def response_change(self, request: HttpRequest, obj: Approval) -> HttpResponse:
        """Say what was answered, and lead to what waits too."""
        obj.refresh_from_db(fields=["status"])
        self.message_user(
            request, f"You {obj.status} what {obj.member or 'the chat'} asked. {self.takes_effect}", messages.SUCCESS
        )
        url = reverse("admin:nexus_agents_approval_changelist")
        return HttpResponseRedirect(f"{url}?status__exact={ApprovalStatus.WAITING}")

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """As Django does it; a refused answer leaves nothing behind, neither a log entry nor word of a success."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except _Refused as refused:
            self.message_user(request, str(refused), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def save_model(self, request: HttpRequest, obj: Approval, form: Any, change: bool) -> None:
        """Answer, in the name of the user.

        Raises:
            _Refused: the answer is not taken; Django's transaction around the page is rolled back.
        """
        cleaned = form.cleaned_data
        try:
            self._answer(request, obj, approved=cleaned["decision"] == "yes", text=cleaned["text"])
        except NexusError as error:
            raise _Refused(str(error)) from error

    @staticmethod
    def _answer(request: HttpRequest, approval: Approval, *, approved: bool, text: str) -> None:
        answer_approval(approval.pk, approved=approved, text=text, by=request.user.get_username())

    @admin.action(description="Approve the selected ones", permissions=["change"])
    def approve(self, request: HttpRequest, queryset: QuerySet[Approval]) -> None:
        """Say yes to several at once; inputs and choices need a text and are left out."""
        chosen = queryset.filter(status=ApprovalStatus.WAITING, purpose=ApprovalPurpose.APPROVAL)[:500]
        count = 0
        for approval in chosen:
            try:
                self._answer(request, approval, approved=True, text="")
            except NexusError as error:
                self.message_user(request, str(error), messages.ERROR)
            else:
                count += 1
                self.log_change(request, approval, "Approved.")
        self.message_user(request, f"Approved: {count}.", messages.SUCCESS if count else messages.WARNING)
