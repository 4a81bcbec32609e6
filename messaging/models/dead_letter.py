"""DeadLetter: a message that will not be handled without an operator's decision."""

from __future__ import annotations

from django.db import models

from messaging.models.delivery import Delivery
from messaging.models.workflow import Workflow


class DeadReason(models.TextChoices):
    HANDLER_ERROR = "handler_error", "the handler refused it (terminal error)"
    ATTEMPTS_USED_UP = "attempts_used_up", "every attempt failed"
    CRASH_LOOP = "crash_loop", "its worker died at every attempt"
    INVALID_ENVELOPE = "invalid_envelope", "the bytes are no valid envelope"
    UNKNOWN_AGENT = "unknown_agent", "no worker knows its recipient"
    UNKNOWN_DELIVERY = "unknown_delivery", "the log has no such delivery"
    UNKNOWN_TASK = "unknown_task", "the worker knows no such task"
    DELIVERY_LIMIT = "delivery_limit", "the broker gave up delivering it"
    REJECTED = "rejected", "rejected on the broker"
    NOT_AUTHENTIC = "not_authentic", "its signature does not prove it"
    CHECK_FAILED = "check_failed", "a check of it failed"
    SCHEMA = "schema", "its data do not follow their schema"
    VERIFICATION = "verification", "a verification rule or a person refused it"
    NOT_ACCEPTED = "not_accepted", "the inbox does not take it"
    NOT_AUTHORIZED = "not_authorized", "the access policy does not allow it"
    LABELS = "labels", "its recipient does not accept its labels"
    NOT_DECRYPTED = "not_decrypted", "its data do not decrypt, or are not encrypted"


class DeadLetterStatus(models.TextChoices):
    OPEN = "open"
    REPLAYED = "replayed"
    DISCARDED = "discarded"
    REPLACED = "replaced"  # by an edited message, in its position


class DeadLetter(models.Model):
    delivery = models.ForeignKey(
        Delivery, null=True, blank=True, on_delete=models.SET_NULL, db_constraint=False, related_name="dead_letters"
    )
    workflow = models.ForeignKey(
        Workflow, null=True, blank=True, on_delete=models.SET_NULL, db_constraint=False, related_name="dead_letters"
    )
    agent = models.CharField(max_length=100, blank=True, default="")
    message_type = models.CharField(max_length=200, blank=True, default="")
    reason = models.CharField(max_length=20, choices=DeadReason)
    error = models.CharField(max_length=200, blank=True, default="", help_text="Class of the error.")
    place = models.CharField(max_length=200, blank=True, default="", help_text="Where the error was raised.")
    detail = models.TextField(blank=True, default="", help_text="The error's message and where it was raised.")
    body = models.BinaryField(help_text="The raw bytes.")
    headers = models.JSONField(default=dict, blank=True)
    fingerprint = models.CharField(
        max_length=64, blank=True, default="", help_text="Of the bytes and the reason, without a delivery."
    )
    copies = models.IntegerField(default=1, help_text="How often the same bytes came.")
    status = models.CharField(max_length=9, choices=DeadLetterStatus, default=DeadLetterStatus.OPEN)
    created_at = models.DateTimeField(auto_now_add=True)
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.CharField(max_length=150, blank=True, default="")
    replaced_by = models.UUIDField(null=True, blank=True, help_text="The edited message that took its place.")
    resolution = models.TextField(blank=True, default="", help_text="Why it was discarded.")

    class Meta:
        db_table = "nexus_dead_letter"
        permissions = [("edit_deadletter", "Can edit and replay dead letter")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(status__in=DeadLetterStatus.values), name="nexus_dead_letter_status"
            ),
            models.CheckConstraint(condition=models.Q(reason__in=DeadReason.values), name="nexus_dead_letter_reason"),
            models.UniqueConstraint(
                fields=["delivery"],
                name="nexus_dead_letter_open",
                condition=models.Q(status="open", delivery__isnull=False),
            ),
            models.UniqueConstraint(
                fields=["fingerprint"],
                name="nexus_dead_letter_fingerprint",
                condition=models.Q(status="open") & ~models.Q(fingerprint=""),
            ),
        ]
        indexes = [
            models.Index(fields=["status", "created_at"], name="nexus_dead_letter_created"),
            # Groups of what waits for a person: by where it happened, in few reads however many there are.
            models.Index(
                fields=["agent", "reason", "error", "place", "message_type"],
                name="nexus_dead_letter_group",
                condition=models.Q(status="open"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.agent or 'unknown agent'}: {self.get_reason_display()}"
