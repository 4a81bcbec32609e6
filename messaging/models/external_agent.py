"""ExternalAgent: what a program outside said of itself when it registered an agent."""

from __future__ import annotations

from django.db import models

from messaging.models.agent import Agent


class ExternalAgent(models.Model):
    """One row per agent whose handler runs outside. It says nothing about who may act for it: tokens do."""

    agent = models.OneToOneField(Agent, on_delete=models.CASCADE, primary_key=True, related_name="external")
    accepts = models.JSONField(null=True, blank=True, help_text="Message types that it takes; empty for all.")
    max_attempts = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: by the settings.")
    concurrency = models.PositiveIntegerField(null=True, blank=True, help_text="Messages leased at once, at most.")
    rate = models.FloatField(null=True, blank=True, help_text="Messages leased per second, at most.")
    timeout = models.FloatField(null=True, blank=True, help_text="Seconds that a lease lasts at most, renewed or not.")
    origin = models.CharField(max_length=40, blank=True, default="", help_text="All that it sends bears it.")
    private = models.JSONField(default=list, blank=True, help_text="Whose secrets it brings in.")
    reads_untrusted = models.BooleanField(default=False)
    sees_private = models.BooleanField(default=False)
    changes_outside = models.BooleanField(default=False)
    accepts_untrusted = models.BooleanField(default=True, help_text="Whether it is given untrusted content.")
    accepts_private = models.JSONField(null=True, blank=True, help_text="Private names that it takes; empty for all.")
    registered_by = models.CharField(max_length=300, blank=True, default="")
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "nexus_external_agent"

    def __str__(self) -> str:
        return str(self.agent_id)
