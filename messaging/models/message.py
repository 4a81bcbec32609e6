"""Message: one immutable envelope in the log."""

from __future__ import annotations

from uuid import UUID

from django.db import models

from messaging.core.ids import MAX_DELIVERIES, delivery_id, new_message_id
from messaging.models.workflow import Workflow


class Message(models.Model):
    """A row is written once and never changed; the envelope holds the exact bytes that are signed and carried.

    Foreign keys of the log carry no database constraint: message, delivery and counters are written by one transaction
    and removed together by pruning, and a constraint would cost a lookup and a row lock for each message.
    """

    id = models.UUIDField(primary_key=True, default=new_message_id, editable=False)
    workflow = models.ForeignKey(
        Workflow, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="messages"
    )
    sequence = models.BigIntegerField()
    type = models.CharField(max_length=200)
    source = models.CharField(max_length=100, help_text="The sender.")
    subject = models.CharField(max_length=100, help_text="The recipient: an agent or a group.")
    envelope = models.BinaryField()
    signature = models.TextField(blank=True, default="")
    correlation_id = models.UUIDField(null=True, blank=True, help_text="The request that this message replies to.")
    deduplication_id = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001 - NULL keeps it unique
    created_at = models.DateTimeField()

    class Meta:
        db_table = "nexus_message"
        permissions = [("read_encrypted", "Can read encrypted data of messages")]
        constraints = [
            models.UniqueConstraint(fields=["workflow", "sequence"], name="nexus_message_sequence"),
            models.UniqueConstraint(
                fields=["workflow", "source", "deduplication_id"],
                name="nexus_message_deduplication",
                condition=models.Q(deduplication_id__isnull=False),
            ),
            models.CheckConstraint(condition=models.Q(sequence__gte=1), name="nexus_message_sequence_positive"),
        ]
        indexes = [
            models.Index(
                fields=["correlation_id"],
                name="nexus_message_correlation",
                condition=models.Q(correlation_id__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"#{self.sequence} {self.source} → {self.subject}: {self.type}"

    @property
    def last_delivery_id(self) -> UUID:
        """The highest id that a delivery of this message can have."""
        return delivery_id(self.id, MAX_DELIVERIES)
