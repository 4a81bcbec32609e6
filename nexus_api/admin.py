"""Tokens in the admin: made, with the secret shown once, and revoked; never changed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache

from messaging.api import NexusError
from messaging.extension import BoundedPaginator, TellingAdmin
from nexus_api.models import ApiToken
from nexus_api.scopes import Scope
from nexus_api.tokens import check_token, create_token, revoke_token

if TYPE_CHECKING:
    ApiTokenAdminBase = admin.ModelAdmin[ApiToken]
    ApiTokenFormBase = forms.ModelForm[ApiToken]
else:
    ApiTokenAdminBase = admin.ModelAdmin
    ApiTokenFormBase = forms.ModelForm


class ApiTokenForm(ApiTokenFormBase):
    """A new token."""

    scopes = forms.MultipleChoiceField(
        choices=[(scope.value, scope.value) for scope in Scope], widget=forms.CheckboxSelectMultiple
    )
    senders = forms.CharField(
        required=False, help_text="Agents that it may speak as, by commas; the first by default. Empty: web."
    )
    days = forms.IntegerField(min_value=1, max_value=3_650, initial=90, help_text="Until it expires.")

    class Meta:
        model = ApiToken
        fields = ("name", "owner", "visibility", "team", "rate")

    def clean_senders(self) -> list[str]:
        """The names."""
        return [name.strip() for name in self.cleaned_data["senders"].split(",") if name.strip()]

    def clean(self) -> dict[str, Any] | None:
        """Refuse what the command refuses."""
        cleaned = super().clean()
        values = cleaned or self.cleaned_data
        if not self.errors:
            try:
                check_token(
                    scopes=values["scopes"],
                    senders=values["senders"],
                    visibility=values["visibility"],
                    team=values["team"],
                    rate=values["rate"],
                    life=timedelta(days=values["days"]),
                )
            except NexusError as error:
                raise forms.ValidationError(str(error)) from error
        return cleaned


@admin.register(ApiToken)
class ApiTokenAdmin(TellingAdmin, ApiTokenAdminBase):
    """What programs show instead of logging in."""

    form = ApiTokenForm
    index_group = "Keys and tokens"
    takes_effect = "Programs may show it from now on."
    paginator = BoundedPaginator
    list_per_page = 50
    list_display = ("name", "owner", "visibility", "team", "created_at", "expires_at", "last_used_at", "revoked_at")
    list_select_related = ("owner",)
    search_fields = ("name",)
    show_full_result_count = False
    actions = ("revoke",)
    shown = ("id", "name", "owner", "scopes", "senders", "visibility", "team", "rate", "created_at", "expires_at",
             "last_used_at", "revoked_at")  # fmt: skip

    def get_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> tuple[str, ...]:
        return self.shown if obj else ("name", "owner", "scopes", "senders", "visibility", "team", "rate", "days")

    def get_readonly_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> tuple[str, ...]:
        return self.shown if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        """Make it; its secret is kept for the answer of this request alone."""
        if change:
            return
        values = form.cleaned_data
        token, secret = create_token(
            name=values["name"],
            owner=values["owner"],
            scopes=values["scopes"],
            senders=values["senders"],
            visibility=values["visibility"],
            team=values["team"],
            rate=values["rate"],
            life=timedelta(days=values["days"]),
        )
        obj.pk = token.pk
        obj._state.adding = False
        request.nexus_secret = secret  # type: ignore[attr-defined]

    def response_add(self, request: HttpRequest, obj: ApiToken, post_url_continue: str | None = None) -> HttpResponse:
        """Show the secret, in this answer and nowhere else."""
        return self._show_secret(request, obj)

    @staticmethod
    @never_cache
    def _show_secret(request: HttpRequest, obj: ApiToken) -> HttpResponse:
        context = {
            **admin.site.each_context(request),
            "title": f"Token {obj.name}",
            "secret": request.nexus_secret,  # type: ignore[attr-defined]
        }
        return TemplateResponse(request, "nexus_api/token_created.html", context)

    @admin.action(description="Revoke: accept them no more", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        """From now on."""
        for token in queryset:
            revoke_token(token.name)
            self.log_change(request, token, "Revoked.")
        self.message_user(request, f"Revoked: {len(queryset)}.")
