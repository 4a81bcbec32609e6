"""The journal of transactions: who changed what, when and why. Rows are only ever added."""

from __future__ import annotations

from django.db import models


class JournalEntry(models.Model):
    """One change of a saga. ``hash`` covers the entry and the hash before it, so none can be altered or left out."""

    workflow_id = models.UUIDField()
    number = models.IntegerField()
    at = models.DateTimeField()
    event = models.CharField(max_length=30)
    step = models.CharField(max_length=100, blank=True, default="")
    before = models.CharField(max_length=12, blank=True, default="")
    after = models.CharField(max_length=12, blank=True, default="")
    status = models.CharField(max_length=12, help_text="Of the saga, after it.")
    actor = models.CharField(max_length=200)
    cause = models.UUIDField(null=True, blank=True, help_text="The message that led to it.")
    detail = models.TextField(help_text="JSON")
    previous = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        db_table = "nexus_journal"
        verbose_name_plural = "journal entries"
        constraints = [models.UniqueConstraint(fields=["workflow_id", "number"], name="nexus_journal_number")]

    def __str__(self) -> str:
        return f"{self.number} {self.event} {self.step}".strip()
