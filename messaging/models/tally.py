"""MetricTally: counts for monitoring, each row written by one thread in the transaction that did what is counted."""

from __future__ import annotations

from uuid import UUID

from django.db import models

TOTAL = UUID(int=0)
"""The writer of the rows into which the relay folds all others."""


class Counted(models.TextChoices):
    """What is counted, and what ``label`` says of it."""

    SENT = "sent"  # messages by sender; no label
    OUTCOME = "outcome"  # deliveries by recipient; the outcome
    CRITICAL_TIME = "critical time"  # handled deliveries; the upper bound in seconds of its class
    CRITICAL_MILLISECONDS = "critical ms"  # the sum of their times; no label


class MetricTally(models.Model):
    """Committed with what it counts, so a kill loses nothing. No two threads write one row, so nobody waits for it."""

    writer = models.UUIDField(help_text="The thread that counts; zero for the total of those before.")
    name = models.CharField(max_length=13, choices=Counted)
    agent = models.CharField(max_length=100, blank=True)
    label = models.CharField(max_length=20, blank=True)
    value = models.BigIntegerField()

    class Meta:
        db_table = "nexus_tally"
        verbose_name_plural = "metric tallies"
        constraints = [models.UniqueConstraint(fields=["writer", "name", "agent", "label"], name="nexus_tally_key")]

    def __str__(self) -> str:
        return " ".join(part for part in (self.name, self.agent, self.label, str(self.value)) if part)
