"""Teams that operators edit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import forms
from django.contrib import admin

from agents.chat.rules.errors import DefinitionError
from agents.chat.rules.schema import read_text
from agents.models import Team
from messaging.extension import BoundedPaginator, TellingAdmin, time_column

if TYPE_CHECKING:
    TeamAdminBase = admin.ModelAdmin[Team]
    TeamFormBase = forms.ModelForm[Team]
else:
    TeamAdminBase = admin.ModelAdmin
    TeamFormBase = forms.ModelForm


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


@admin.register(Team)
class TeamAdmin(TellingAdmin, TeamAdminBase):
    """Teams that ``AgentTeamBuilder`` finds by name. A definition that cannot work is refused with its line."""

    form = TeamForm
    index_group = "Agents and teams"
    takes_effect = "It counts for chats that start from now on; those that run keep the team that they began with."
    paginator = BoundedPaginator
    show_full_result_count = False
    list_per_page = 50
    list_display = ("name", time_column("changed_at", "Changed at"))
    search_fields = ("name",)
