"""The access policy: roles, teams, grants and defaults, each change of which is audited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.safestring import SafeString

from messaging.admin import display
from messaging.admin.base import LogAdmin, ModelAdmin
from messaging.core.errors import AccessPolicyError
from messaging.models import (
    AccessChange,
    AccessEpoch,
    AccessGrant,
    AccessRole,
    AccessRoleMember,
    AccessTeam,
    AccessTeamMember,
)
from messaging.operators.telling import TellingAdmin
from messaging.security.access.store import change

if TYPE_CHECKING:
    RoleInline = admin.TabularInline[AccessRoleMember, AccessRole]
    TeamInline = admin.TabularInline[AccessTeamMember, AccessTeam]
else:
    RoleInline = TeamInline = admin.TabularInline


class PolicyAdmin(TellingAdmin, ModelAdmin):
    """A page whose changes are checked as a part of the whole policy, and audited. What cannot work changes nothing."""

    takes_effect = "It counts at once, in every process: whatever is not handled yet is decided by it."

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return self._change(request, super().changeform_view, *args, **kwargs)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return self._change(request, super().delete_view, *args, **kwargs)

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return self._change(request, super().changelist_view, *args, **kwargs)

    def _change(self, request: HttpRequest, view: Any, *args: Any, **kwargs: Any) -> Any:
        if request.method != "POST":
            return view(request, *args, **kwargs)
        try:
            with change(request.user.get_username()):
                response: HttpResponse = view(request, *args, **kwargs)
                if hasattr(response, "render"):
                    response.render()  # while the rows are as the page describes them
        except AccessPolicyError as error:
            # The success message belongs to what was taken back.
            list(messages.get_messages(request))
            self.message_user(request, f"Nothing was changed: {error}", messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        return response


class NamedAdmin(PolicyAdmin):
    search_fields = ("name__startswith",)
    ordering = ("name",)

    def get_readonly_fields(self, request: HttpRequest, obj: models.Model | None = None) -> tuple[str, ...]:
        """The name is the key: changing it would make a second one."""
        return ("name",) if obj else ()


class AccessRoleMemberInline(RoleInline):
    model = AccessRoleMember
    extra = 1


class AccessTeamMemberInline(TeamInline):
    model = AccessTeamMember
    extra = 1


@admin.register(AccessRole)
class AccessRoleAdmin(NamedAdmin):
    index_group = "Rules and access"
    list_display = ("name", "note")
    filter_horizontal = ("inherits",)
    inlines = (AccessRoleMemberInline,)


@admin.register(AccessTeam)
class AccessTeamAdmin(NamedAdmin):
    index_group = "Rules and access"
    inlines = (AccessTeamMemberInline,)


@admin.register(AccessGrant)
class AccessGrantAdmin(PolicyAdmin):
    index_group = "Rules and access"
    list_display = ("name", "effect", "sender", "recipient", "type", "team", "uses", "ends")
    list_filter = ("effect", "team")
    search_fields = ("name__startswith", "sender", "recipient")
    ordering = ("pk",)

    def formfield_for_dbfield(self, db_field: models.Field[Any, Any], request: Any, **kwargs: Any) -> Any:
        """Uses count down while the page is open: the number is only saved when somebody changed it there."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "uses" and isinstance(field, forms.Field):
            field.show_hidden_initial = True
        return field

    def save_model(self, request: HttpRequest, obj: AccessGrant, form: Any, change: bool) -> None:
        """Save, but never put back uses that were counted meanwhile."""
        if change and "uses" not in form.changed_data:
            obj.uses = AccessGrant.objects.values_list("uses", flat=True).get(pk=obj.pk)
        super().save_model(request, obj, form, change)


@admin.register(AccessEpoch)
class AccessEpochAdmin(PolicyAdmin):
    """What holds where no grant applies."""

    index_group = "Rules and access"
    list_display = ("inside_team", "across_teams", "without_team", "number")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """There is one row, from the first change on."""
        return not AccessEpoch.objects.filter(number__gt=0).exists() and super().has_add_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: AccessEpoch | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: AccessEpoch, form: Any, change: bool) -> None:
        """Adding is changing: the open change has made the row already."""
        obj._state.adding = False
        super().save_model(request, obj, form, change)


@admin.register(AccessChange)
class AccessChangeAdmin(LogAdmin):
    """Who changed what, and when."""

    list_display = ("epoch", display.time_column("at", "time"), "who", "kind", "name")
    list_filter = ("kind",)
    word_searches = ("name", "who")
    search_help_text = "The exact name of a role, team or grant, or of who changed it."
    fields = ("epoch", "at", "who", "kind", "name", "was", "became")
    readonly_fields = fields

    @admin.display(description="before")
    def was(self, row: AccessChange) -> SafeString:
        return display.pretty_json(row.before)

    @admin.display(description="after")
    def became(self, row: AccessChange) -> SafeString:
        return display.pretty_json(row.after)
