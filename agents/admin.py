"""Chats, approvals and teams in the admin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from agents.chat.hosts.approval import answer_approval
from agents.chat.hosts.durable import DurableHost
from agents.chat.hosts.host import standing
from agents.chat.hosts.workflows import PARKED, STOPPED, of_workflow
from agents.chat.rules.errors import DefinitionError
from agents.chat.rules.messages import Entry
from agents.chat.rules.schema import read_text
from agents.chat.rules.transcript import Transcript, remark_on
from agents.models import Approval, ApprovalPurpose, ApprovalStatus, ChatSession, JudgeSpending, Team
from messaging.api import NexusError, ReliableCommunicationBus
from messaging.extension import visible

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


MAX_EXCERPT, MAX_BEFORE = 120, 10
"""Characters of an approval in the list; entries of the transcript on its page."""


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
    list_display = (
        "question",
        "excerpt",
        "workflow_link",
        "member",
        "purpose",
        "status",
        "answered_by",
        "created_at",
        "deadline_at",
    )
    list_filter = ("status", "purpose")
    search_fields = ("member", "question")
    show_full_result_count = False
    actions = ("approve",)
    asked = ("question", "words", "options")
    shown = (
        "status",
        "member",
        "purpose",
        "workflow_link",
        "chat_link",
        "created_at",
        "deadline_at",
    )
    answered = ("answer", "answered_by", "answered_at")

    class Media:
        css = {"all": ["nexus/admin.css"]}

    def get_readonly_fields(self, request: HttpRequest, obj: Approval | None = None) -> tuple[str, ...]:
        return (*self.asked, *self.answered, "before_it", *self.shown)

    def get_fields(self, request: HttpRequest, obj: Approval | None = None) -> tuple[str, ...]:
        waits = obj is not None and obj.status == ApprovalStatus.WAITING
        return (*self.asked, *(("decision", "text") if waits else self.answered), "before_it", *self.shown)

    @admin.display(description="what it is about")
    def excerpt(self, approval: Approval) -> str:
        """The beginning of it: the questions of a team are all alike."""
        return visible(approval.content[:MAX_EXCERPT]) or "-"

    @admin.display(description="what it is about")
    def words(self, approval: Approval) -> SafeString:
        return _as_written(approval.content)

    @admin.display(description="workflow")
    def workflow_link(self, approval: Approval) -> SafeString:
        url = reverse("admin:nexus_workflow_change", args=[approval.workflow_id])
        return format_html('<a href="{}">{}</a>', url, approval.workflow_id.hex[-8:])

    @admin.display(description="chat")
    def chat_link(self, approval: Approval) -> SafeString | str:
        chat = ChatSession.objects.filter(pk=approval.workflow_id).first()
        if chat is None:
            return "-"
        return format_html('<a href="{}">Chat of {}</a>', _chat_url(chat.pk), chat)

    @admin.display(description="said before")
    def before_it(self, approval: Approval) -> SafeString | str:
        """The end of the transcript: who answers should know what was said."""
        if not ChatSession.objects.filter(pk=approval.workflow_id).exists():
            return "-"
        return _drawn(DurableHost(ReliableCommunicationBus()).transcript(approval.workflow_id)[-MAX_BEFORE:])

    def response_change(self, request: HttpRequest, obj: Approval) -> HttpResponse:
        """Say what was answered, and lead to what waits too."""
        self.message_user(request, f"You {obj.status} what {obj.member or 'the chat'} asked.", messages.SUCCESS)
        url = reverse("admin:nexus_agents_approval_changelist")
        return HttpResponseRedirect(f"{url}?status__exact={ApprovalStatus.WAITING}")

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
        obj.refresh_from_db()

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
    def transcript(self, obj: ChatSession) -> SafeString:
        """What was said; members' text is escaped."""
        found = DurableHost(ReliableCommunicationBus()).transcript(obj.pk)
        return _drawn(found, found.sub_chats)


def _drawn(entries: Iterable[Entry], sub_chats: Mapping[str, Transcript] | None = None) -> SafeString:
    """What was said as a list; a chat within it stands folded before the entry that it led to."""
    parts = []
    for entry in entries:
        inner = (sub_chats or {}).get(str(entry.turn)) if entry.turn else None
        if inner is not None:
            folded = _drawn(inner, inner.sub_chats)
            parts.append(format_html("<li><details><summary>A chat within</summary>{}</details></li>", folded))
        line = '<li><p><strong>{}. {}</strong> <span class="nexus-quiet">{}</span></p>{}</li>'
        parts.append(format_html(line, entry.number, entry.speaker, remark_on(entry), _as_written(entry.content)))
    return format_html('<ul class="nexus-transcript">{}</ul>', format_html_join("", "{}", ((part,) for part in parts)))


def _as_written(text: str) -> SafeString:
    return format_html('<div class="nexus-words">{}</div>', visible(text))


def _chat_url(chat: UUID) -> str:
    return reverse("admin:nexus_agents_chatsession_change", args=[chat])


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
