"""What operators set on an agent, and where its rate limit stands."""

from __future__ import annotations

from django.db import models


class AgentSetting(models.Model):
    """One row per agent that was ever paused or has a rate limit.

    Pause with ``pause_agent``, which also releases later.
    """

    agent = models.CharField(max_length=100, primary_key=True)
    paused = models.BooleanField(default=False)
    reason = models.TextField(blank=True, default="")
    changed_by = models.CharField(max_length=150, blank=True, default="")
    changed_at = models.DateTimeField(null=True, blank=True)
    next_start = models.DateTimeField(null=True, blank=True, help_text="Rate limit: when the next handler may start.")
    next_retry = models.DateTimeField(
        null=True, blank=True, help_text="Rate limit: up to when waiting deliveries have been told to come back."
    )

    class Meta:
        db_table = "nexus_agent_setting"
        indexes = [models.Index(fields=["agent"], name="nexus_agent_paused", condition=models.Q(paused=True))]

    def __str__(self) -> str:
        return f"{self.agent} (paused)" if self.paused else self.agent
