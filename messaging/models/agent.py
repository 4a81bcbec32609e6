"""Agents and groups as the database knows them."""

from __future__ import annotations

from django.db import models

from messaging.core.registry import HandlerKind

KINDS = [(kind.value, kind.value.capitalize()) for kind in HandlerKind]
"""``HandlerKind`` as the choices of a column."""


class Agent(models.Model):
    """One row per agent that ever registered; workers write them at start."""

    name = models.CharField(max_length=100, primary_key=True)
    kind = models.CharField(  # noqa: DJ001 - there are no two ways to say "none": an empty text is refused
        max_length=13,
        choices=KINDS,
        null=True,
        blank=True,
        default=HandlerKind.TRANSACTIONAL.value,
        help_text="Of its handler. Empty: a program without handler that reads its messages from the log.",
    )
    description = models.TextField(blank=True, default="")
    registered_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "nexus_agent"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(kind__in=[kind.value for kind in HandlerKind]), name="nexus_agent_kind"
            )
        ]

    def __str__(self) -> str:
        return self.name


class AgentGroup(models.Model):
    name = models.CharField(max_length=100, primary_key=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "nexus_agent_group"

    def __str__(self) -> str:
        return self.name


class GroupMember(models.Model):
    group = models.ForeignKey(AgentGroup, on_delete=models.CASCADE, related_name="members", db_index=False)
    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="memberships")

    class Meta:
        db_table = "nexus_group_member"
        constraints = [models.UniqueConstraint(fields=["group", "agent"], name="nexus_group_member_unique")]

    def __str__(self) -> str:
        return f"{self.agent_id} in {self.group_id}"
