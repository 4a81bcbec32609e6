"""Team: a team's definition that operators can edit."""

from __future__ import annotations

from django.db import models


class Team(models.Model):
    """Used by ``AgentTeamBuilder.build_team("name")``. Chats keep the definition that they were started with."""

    name = models.CharField(max_length=200, primary_key=True)
    definition = models.TextField(help_text="YAML or JSON.")
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "nexus_team"

    def __str__(self) -> str:
        return self.name
