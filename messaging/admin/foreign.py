"""Programs outside that may send, and what came from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from messaging.admin import display
from messaging.admin.base import LogAdmin, ModelAdmin
from messaging.admin.operating import OperatedAdmin
from messaging.core.errors import SigningKeyError
from messaging.models import ForeignArrival, ForeignSender
from messaging.operators.telling import TellingAdmin
from messaging.security.signatures import foreign
from messaging.security.signatures.encoding import to_base64url

if TYPE_CHECKING:
    SenderForm = forms.ModelForm[ForeignSender]
else:
    SenderForm = forms.ModelForm


class ForeignSenderForm(SenderForm):
    """A registration, checked as the command checks it."""

    public_key = forms.CharField(widget=forms.Textarea, help_text="Ed25519, as PEM or JWK. Never the private one.")

    class Meta:
        model = ForeignSender
        fields = ("name", "agents", "rate", "starts_workflows")

    def clean(self) -> dict[str, Any] | None:
        """Refuse what cannot be registered."""
        cleaned = super().clean()
        values = cleaned or self.cleaned_data
        if not self.errors:
            try:
                foreign.prepare(values["name"], values["public_key"], values["agents"], rate=values["rate"])
            except SigningKeyError as error:
                raise forms.ValidationError(str(error)) from error
        return cleaned


@admin.register(ForeignSender)
class ForeignSenderAdmin(TellingAdmin, OperatedAdmin):
    """Registered and revoked, never changed: its certificate vouches for all of it."""

    index_group = "Keys and tokens"
    operate_permission = "nexus.change_foreignsender"
    takes_effect = "What it signs is taken from now on, for the agents that it may speak for."
    actions = ("revoke",)
    change_form_template = "admin/nexus/operated_form.html"
    list_display = ("name", "agents", "state", "rate", display.time_column("created_at", "registered"))
    word_searches = ("name__startswith",)
    ordering = ("name",)
    shown = (
        "name",
        "agents",
        "state",
        "problem",
        "public_part",
        "rate",
        "starts_workflows",
        "created_at",
        "revoked_at",
    )
    form = ForeignSenderForm

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As Django's permissions say."""
        return ModelAdmin.has_add_permission(self, request)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return self.shown if obj else ("name", "public_key", "agents", "rate", "starts_workflows")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return self.shown if obj else ()

    def save_model(self, request: HttpRequest, obj: ForeignSender, form: Any, change: bool) -> None:
        """Certify, store and audit."""
        foreign.register(
            obj.name,
            form.cleaned_data["public_key"],
            obj.agents,
            starts_workflows=obj.starts_workflows,
            rate=obj.rate,
            who=request.user.get_username(),
        )
        obj._state.adding = False

    def buttons(self, object_id: str) -> list[tuple[str, str]]:
        """Nothing is left to do with one that is revoked."""
        current = ForeignSender.objects.filter(pk=object_id, revoked_at=None).exists()
        return [("revoke", "Revoke")] if current else []

    @admin.action(description="Revoke: store nothing more of it", permissions=["operate"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ForeignSender]) -> HttpResponse | None:
        """Accept nothing more of programs."""
        if "confirmed" not in request.POST:
            rows = [(sender, sender.agents) for sender in queryset]
            consequence = "Nothing more of them is stored. This cannot be taken back: register a new key instead."
            return self.ask(request, "revoke", consequence, ("sender", "speaks for"), rows)

        def do(sender: ForeignSender) -> str:
            foreign.revoke(sender.name, who=request.user.get_username())
            return ""

        return self.operate(request, queryset, do, "revoked")

    @admin.display(description="state")
    def state(self, sender: ForeignSender) -> SafeString:
        return display.state("revoked" if sender.revoked_at else "active")

    @admin.display(description="public part")
    def public_part(self, sender: ForeignSender) -> str:
        return to_base64url(bytes(sender.public))

    @admin.display(description="problem")
    def problem(self, sender: ForeignSender) -> str:
        """Why its events are refused by this process."""
        return foreign.know(sender).problem or "none"


@admin.register(ForeignArrival)
class ForeignArrivalAdmin(LogAdmin):
    """Events that were stored, as their senders signed them."""

    list_display = ("event_id", "sender", "message_id", display.time_column("received_at", "received"))
    list_select_related = ("sender",)
    id_searches = ("message_id",)
    word_searches = ("event_id", "sender__name")
    search_help_text = "A message's id, or the exact id that its sender gave it, or a sender's name."
    fields = ("event_id", "sender", "message_id", "received_at", "digest", "signature", "text")
    readonly_fields = fields

    @admin.display(description="body")
    def text(self, arrival: ForeignArrival) -> str:
        return bytes(arrival.body).decode(errors="replace")
