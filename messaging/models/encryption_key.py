"""Keys that the data of messages are encrypted with."""

from __future__ import annotations

from django.db import models

from messaging.models.signing_key import KeyState


class EncryptionKey(models.Model):
    """A secret, sealed under the master key. Change keys with ``nexus_keys``."""

    kid = models.CharField(max_length=64, primary_key=True)
    algorithm = models.CharField(max_length=10)
    sealed = models.BinaryField(help_text="The secret, encrypted.")
    master = models.CharField(max_length=16, help_text="Which master key sealed it.")
    state = models.CharField(max_length=7, choices=KeyState, default=KeyState.ACTIVE)
    created_at = models.DateTimeField()
    retired_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "nexus_encryption_key"
        verbose_name = "encryption key"
        constraints = [
            models.UniqueConstraint(
                fields=["algorithm"], name="nexus_encryption_key_active", condition=models.Q(state="active")
            ),
            models.CheckConstraint(condition=models.Q(state__in=KeyState.values), name="nexus_encryption_key_state"),
        ]

    def __str__(self) -> str:
        return f"{self.kid}: {self.state}"
