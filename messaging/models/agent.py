"""Agents and groups as the database knows them."""

from __future__ import annotations

from django.db import models


class AgentKind(models.TextChoices):
    TRANSACTIONAL = "transactional"  # quick, database only; handled in batches inside the transaction
    LEASED = "leased"  # slow or calling out; handled outside any transaction under a lease
    EXTERNAL = "external"  # no handler: a program that reads its replies from the log


class Agent(models.Model):
    """One row per agent that ever registered; workers write them at start."""

    name = models.CharField(max_length=100, primary_key=True)
    kind = models.CharField(max_length=13, choices=AgentKind, default=AgentKind.TRANSACTIONAL)
    description = models.TextField(blank=True, default="")
    registered_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "nexus_agent"
        constraints = [models.CheckConstraint(condition=models.Q(kind__in=AgentKind.values), name="nexus_agent_kind")]

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
