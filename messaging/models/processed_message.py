"""ProcessedMessage: the processed-ID row that makes a duplicate harmless."""

from __future__ import annotations

from django.db import models


class ProcessedMessage(models.Model):
    message_id = models.UUIDField()
    consumer = models.CharField(max_length=100)
    expires_at = models.DateTimeField(help_text="Pruned after this.")

    class Meta:
        db_table = "nexus_processed_message"
        constraints = [
            models.UniqueConstraint(fields=["message_id", "consumer"], name="nexus_processed_message_unique"),
        ]
        indexes = [models.Index(fields=["expires_at"], name="nexus_processed_expires")]

    def __str__(self) -> str:
        return f"{self.consumer}: {self.message_id}"
