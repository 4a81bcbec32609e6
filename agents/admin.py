"""Chats, approvals and teams in the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html

from agents.chat.hosts.approval import answer_approval
from agents.chat.hosts.durable import DurableHost
from agents.chat.hosts.host import standing
from agents.chat.hosts.workflows import PARKED, STOPPED, of_workflow
from agents.chat.rules.errors import DefinitionError
from agents.chat.rules.schema import read_text
from agents.models import Approval, ApprovalPurpose, ApprovalStatus, ChatSession, JudgeSpending, Team
from messaging.api import NexusError, ReliableCommunicationBus

if TYPE_CHECKING:
    ApprovalAdminBase = admin.ModelAdmin[Approval]
    SessionAdminBase = admin.ModelAdmin[ChatSession]
    SpendingAdminBase = admin.ModelAdmin[JudgeSpending]
    TeamAdminBase = admin.ModelAdmin[Team]
    ApprovalFormBase = forms.ModelForm[Approval]
    TeamFormBase = forms.ModelForm[Team]
else:
    ApprovalAdminBase = SessionAdminBase = SpendingAdminBase = TeamAdminBase = admin.ModelAdmin
    ApprovalFormBase = TeamFormBase = forms.ModelForm


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
class ApprovalAdmin(ApprovalAdminBase):
    """What waits for a person, and its answer."""

    form = ApprovalForm
    list_display = ("question", "member", "purpose", "status", "answered_by", "created_at", "deadline_at")
    list_filter = ("status", "purpose")
    search_fields = ("member", "question")
    show_full_result_count = False
    actions = ("approve",)
    shown = (
        "workflow_id",
        "purpose",
        "member",
        "question",
        "content",
        "options",
        "status",
        "created_at",
        "deadline_at",
    )
    answered = ("answer", "answered_by", "answered_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Approval | None = None) -> tuple[str, ...]:
        return (*self.shown, *self.answered)

    def get_fields(self, request: HttpRequest, obj: Approval | None = None) -> tuple[str, ...]:
        waits = obj is not None and obj.status == ApprovalStatus.WAITING
        return (*self.shown, *(("decision", "text") if waits else self.answered))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Approval | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Approval | None = None) -> bool:
        allowed = super().has_change_permission(request, obj)
        return allowed and (obj is None or obj.status == ApprovalStatus.WAITING)

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


@admin.register(ChatSession)
class ChatSessionAdmin(SessionAdminBase):
    """Chats and their transcripts, to read."""

    list_display = ("__str__", "standing", "messages", "reason", "created_at", "ended_at")
    list_filter = ("status", "team")
    search_fields = ("team",)
    show_full_result_count = False
    fields = ("workflow_id", "team", "standing", "reason", "messages", "wake_at", "forked_from",
              "created_at", "ended_at", "transcript")  # fmt: skip
    readonly_fields = fields

    class Media:
        css = {"all": ["nexus/admin.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ChatSession | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ChatSession | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[ChatSession]:
        """With what tells why a chat does not go on, in the same query."""
        asked = Approval.objects.filter(workflow=OuterRef("pk"), status=ApprovalStatus.WAITING)
        rows = super().get_queryset(request)
        return rows.annotate(asks=Exists(asked), workflow_status=of_workflow(ChatSession, "status"))

    @admin.display(description="Status", ordering="status")
    def standing(self, obj: ChatSession) -> str:
        """Whether it goes on, and for what it waits."""
        stopped = getattr(obj, "workflow_status", "")
        asks = getattr(obj, "asks", False)
        return standing(obj.status, parked=stopped == PARKED, paused=stopped in STOPPED, asks=asks).capitalize()

    @admin.display(description="Transcript")
    def transcript(self, obj: ChatSession) -> str:
        """What was said; members' text is escaped."""
        text = DurableHost(ReliableCommunicationBus()).transcript(obj.pk).to_markdown()
        return format_html('<pre class="nexus-block">{}</pre>', text)


class TeamForm(TeamFormBase):
    """A team's definition."""

    class Meta:
        model = Team
        fields = ("name", "definition")

    def clean_definition(self) -> str:
        """Refuse a definition that cannot work, naming the line."""
        definition = str(self.cleaned_data["definition"])
        try:
            read_text(definition)
        except DefinitionError as error:
            raise forms.ValidationError(str(error)) from error
        return definition


@admin.register(JudgeSpending)
class JudgeSpendingAdmin(SpendingAdminBase):
    """What judging messages by a model cost, to read."""

    list_display = ("day", "team", "rule", "calls", "tokens")
    list_filter = ("rule",)
    search_fields = ("team",)
    ordering = ("-day", "team")
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: JudgeSpending | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: JudgeSpending | None = None) -> bool:
        return False


@admin.register(Team)
class TeamAdmin(TeamAdminBase):
    """Teams that ``AgentTeamBuilder`` finds by name. A definition that cannot work is refused with its line."""

    form = TeamForm
    list_display = ("name", "changed_at")
    search_fields = ("name",)
