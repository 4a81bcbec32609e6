"""Agents and groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from messaging.admin.base import ModelAdmin
from messaging.core.errors import EnvelopeError
from messaging.core.names import check_agent_name
from messaging.models import Agent, AgentGroup, GroupMember

if TYPE_CHECKING:
    GroupForm = forms.ModelForm[AgentGroup]
    Inline = admin.TabularInline[GroupMember, AgentGroup]
else:
    GroupForm = forms.ModelForm
    Inline = admin.TabularInline


@admin.register(Agent)
class AgentAdmin(ModelAdmin):
    """Workers write agents at start; one that is gone for good can be deleted, and sending to it is refused then."""

    list_display = ("name", "kind", "description", "registered_at")
    list_filter = ("kind",)
    search_fields = ("name__startswith", "description__icontains")
    ordering = ("name",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Agent | None = None) -> bool:
        return False


class AgentGroupForm(GroupForm):
    """Groups and agents share their names."""

    def clean_name(self) -> str:
        """Refuse what ``bus.create_group`` refuses."""
        name = str(self.cleaned_data["name"])
        try:
            check_agent_name(name)
        except EnvelopeError as error:
            raise forms.ValidationError(error.problem) from None
        if Agent.objects.filter(name=name).exists():
            raise forms.ValidationError("An agent has this name already. Agents and groups share their names.")
        return name


class GroupMemberInline(Inline):
    model = GroupMember
    autocomplete_fields = ("agent",)
    extra = 1


@admin.register(AgentGroup)
class AgentGroupAdmin(ModelAdmin):
    """A message to a group goes to each of its members."""

    form = AgentGroupForm
    inlines = (GroupMemberInline,)
    list_display = ("name", "created_at")
    search_fields = ("name__startswith",)
    ordering = ("name",)

    def get_readonly_fields(self, request: HttpRequest, obj: AgentGroup | None = None) -> tuple[Any, ...]:
        """The name is the key: changing it would make a second group."""
        return ("name", "created_at") if obj else ("created_at",)
