"""Programs outside that may send through the inbox, and what came from them."""

from __future__ import annotations

from django.db import models


class ForeignSender(models.Model):
    """A registered public key. Register and revoke with ``nexus_keys`` or in the admin."""

    name = models.CharField(max_length=64, primary_key=True, help_text="The kid that stands in its signatures.")
    agents = models.TextField(help_text="Patterns of the agents that it may speak for, by commas.")
    public = models.BinaryField(help_text="Its Ed25519 public key.")
    starts_workflows = models.BooleanField(
        default=True, help_text="Whether a name that it did not use before starts a workflow."
    )
    rate = models.FloatField(default=100.0, help_text="Events a second.")
    master = models.CharField(max_length=16, help_text="Which master key certified it.")
    certificate = models.BinaryField(help_text="Proves that a holder of the master key wrote this row.")
    created_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True, help_text="Nothing is accepted since.")

    class Meta:
        db_table = "nexus_foreign_sender"
        constraints = [models.CheckConstraint(condition=models.Q(rate__gt=0), name="nexus_foreign_sender_rate")]

    def __str__(self) -> str:
        return f"{self.name} for {self.agents}" + (" (revoked)" if self.revoked_at else "")


class ForeignArrival(models.Model):
    """An event that was stored: the bytes that its sender signed, and the message that they became.

    It makes the same event harmless when it comes again, for as long as its sender's signature would be accepted.
    """

    sender = models.ForeignKey(ForeignSender, on_delete=models.PROTECT, db_index=False, related_name="arrivals")
    event_id = models.CharField(max_length=200, help_text="The id that its sender gave it.")
    message_id = models.UUIDField(unique=True, help_text="What it is in the log.")
    digest = models.CharField(max_length=64, help_text="SHA-256 of the body.")
    body = models.BinaryField(help_text="The bytes that came.")
    signature = models.TextField(help_text="Its sender's JWS over them.")
    received_at = models.DateTimeField()

    class Meta:
        db_table = "nexus_foreign_arrival"
        constraints = [models.UniqueConstraint(fields=["sender", "event_id"], name="nexus_foreign_arrival_event")]
        indexes = [models.Index(fields=["received_at"], name="nexus_foreign_arrival_time")]

    def __str__(self) -> str:
        return f"{self.event_id} from {self.sender_id}"
