"""Verdicts and the quarantine: look at them, release or reject what waits; and the rules, version by version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.safestring import SafeString

from messaging.admin import display
from messaging.admin.base import LogAdmin
from messaging.admin.operating import MAX_AT_ONCE, OperatedAdmin
from messaging.core.errors import ContentRulesError
from messaging.models import WAITING_STATES, Delivery, RuleSet, Verdict, VerdictState
from messaging.operators import quarantine, rule_sets
from messaging.operators.index_state import IndexState
from messaging.operators.telling import TellingAdmin

if TYPE_CHECKING:
    Form = forms.ModelForm[RuleSet]
else:
    Form = forms.ModelForm

CREATED = display.time_column("created_at", "created")


@admin.register(Verdict)
class VerdictAdmin(OperatedAdmin):
    """What verification said of messages. Those that wait are the quarantine."""

    index_group = "Waits for people"
    index_states = (
        IndexState(
            word="waiting",
            rows=lambda: Verdict.objects.filter(state=VerdictState.WAITING),
            query="state__exact=waiting",
            wrong=True,
        ),
        IndexState(
            word="asked", rows=lambda: Verdict.objects.filter(state=VerdictState.ASKED), query="state__exact=asked"
        ),
    )
    operate_permission = "nexus.change_verdict"
    actions = ("release", "reject")
    change_form_template = "admin/nexus/operated_form.html"
    list_display = ("summary", "coloured_state", "rule", "reason", "pointer", "delivery_link", CREATED)
    list_filter = ("state", "action")
    id_searches = ("delivery",)
    word_searches = ("rule",)
    search_help_text = "An id of a delivery, or the exact name of a rule."
    fields = (
        "coloured_state",
        "action",
        "rule",
        "rule_version",
        "rule_set",
        "origin",
        "reason",
        "pointer",
        "duration",
        "delivery_link",
        "every_objection",
        "asked",
        "asked_at",
        "answer_by",
        "created_at",
        "resolved_at",
        "resolved_by",
        "note",
    )
    readonly_fields = fields

    def buttons(self, object_id: str) -> list[tuple[str, str]]:
        """Only for one that a person may still decide about."""
        found = Verdict.objects.filter(pk=object_id).first() if object_id.isdecimal() else None
        if found is None or found.state == VerdictState.RELEASED:
            return []
        waits = found.state in WAITING_STATES
        if not waits and found.action not in ("quarantine", "reject"):
            return []
        return [("release", "Release"), ("reject", "Reject …")] if waits else [("release", "Release")]

    @admin.action(description="Release: have the message handled, in its position", permissions=["operate"])
    def release(self, request: HttpRequest, queryset: QuerySet[Verdict]) -> HttpResponseRedirect | None:
        """Let deliveries go on."""

        def let_go(verdict: Verdict) -> str:
            return quarantine.release(verdict.pk, user=request.user.get_username())

        return self.operate(request, queryset.order_by("pk"), let_go, "released")

    @admin.action(description="Reject: make the message a dead letter …", permissions=["operate"])
    def reject(self, request: HttpRequest, queryset: QuerySet[Verdict]) -> HttpResponse | None:
        """Give deliveries up, once it is confirmed and a reason may be given."""
        if "confirmed" not in request.POST:
            return self.ask(
                request,
                "reject",
                "A rejected message becomes a dead letter; its workflow parks or goes on, as its policy says.",
                ("Verdict", "Rule", "Reason"),
                [(verdict, verdict.rule, verdict.reason) for verdict in queryset[:MAX_AT_ONCE]],
                with_reason=True,
            )

        def give_up(verdict: Verdict) -> str:
            reason = request.POST.get("reason", "")[:1_000]
            quarantine.reject(verdict.pk, user=request.user.get_username(), note=reason)
            return ""

        return self.operate(request, queryset.order_by("pk"), give_up, "rejected")

    @admin.display(description="verdict")
    def summary(self, verdict: Verdict) -> str:
        return f"#{verdict.pk} {verdict.action}"

    @admin.display(description="state")
    def coloured_state(self, verdict: Verdict) -> SafeString:
        return display.state(verdict.state)

    @admin.display(description="delivery")
    def delivery_link(self, verdict: Verdict) -> SafeString | str:
        return display.link_to(Delivery, verdict.delivery_id, str(verdict.delivery_id))

    @admin.display(description="every objection, shadows too")
    def every_objection(self, verdict: Verdict) -> SafeString | str:
        return display.pretty_json(verdict.objections) if verdict.objections else "-"


class RuleSetForm(Form):
    """A new version; it must be one that works."""

    class Meta:
        model = RuleSet
        fields = ("text",)
        widgets = {"text": forms.Textarea(attrs={"rows": 30, "cols": 100, "spellcheck": "false"})}

    def clean_text(self) -> str:
        """The text, if rules can be made of it."""
        text: str = self.cleaned_data["text"]
        try:
            rule_sets.digest_of(text)
        except ContentRulesError as error:
            raise forms.ValidationError(str(error)) from None
        return text


@admin.register(RuleSet)
class RuleSetAdmin(TellingAdmin, LogAdmin):
    """Versions of the rules' settings. To change them is to add the next version, which begins as the newest."""

    index_group = "Rules and access"
    form = RuleSetForm
    takes_effect = "Each process judges by it within seconds; verdicts that were given stay."
    list_display = ("__str__", "created_by", CREATED)
    fields = ("text",)
    readonly_fields = ()

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """For those who may add one."""
        return request.user.has_perm("nexus.add_ruleset")

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """The newest version's text."""
        newest = RuleSet.objects.order_by("-pk").first()
        return {"text": "" if newest is None else newest.text}

    def save_model(self, request: HttpRequest, obj: RuleSet, form: Any, change: bool) -> None:
        """Store it as every entrance does."""
        stored, _ = rule_sets.store(obj.text, user=request.user.get_username())
        obj.pk, obj.digest, obj.created_by, obj.created_at = (
            stored.pk,
            stored.digest,
            stored.created_by,
            stored.created_at,
        )
