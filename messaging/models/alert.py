"""What people are to be told of, until it was sent."""

from __future__ import annotations

from django.db import models


class Alert(models.Model):
    """One dead letter or parked workflow that mail or a webhook tells of.

    Written in the transaction that it is about; the relay sends it and removes it.
    """

    subject = models.CharField(max_length=300)
    content = models.TextField(help_text="JSON")
    attempts = models.SmallIntegerField(default=0)
    due_at = models.DateTimeField()

    class Meta:
        db_table = "nexus_alert"
        indexes = [models.Index(fields=["due_at"], name="nexus_alert_due")]

    def __str__(self) -> str:
        return self.subject
