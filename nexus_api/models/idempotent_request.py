"""IdempotentRequest: a request with an Idempotency-Key, and its answer."""

from __future__ import annotations

from django.db import models


class IdempotentRequest(models.Model):
    """Claimed in a transaction of its own; its answer is stored in the one that does the work."""

    owner = models.CharField(max_length=60, help_text="The token or user whose key it is.")
    key = models.CharField(max_length=150)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of method, path and body.")
    claim = models.UUIDField(help_text="Of the process that works on it: only this one may store the answer.")
    claimed_until = models.DateTimeField()
    status = models.PositiveSmallIntegerField(null=True, blank=True, help_text="Empty while in flight.")
    answer = models.TextField(blank=True, default="")
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "nexus_api_idempotent_request"
        constraints = [models.UniqueConstraint(fields=["owner", "key"], name="nexus_api_idempotent_key")]
        indexes = [models.Index(fields=["expires_at"], name="nexus_api_idempotent_expiry")]

    def __str__(self) -> str:
        return f"{self.owner}: {self.key}"
