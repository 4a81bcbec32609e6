"""The result of a call that is not to be repeated."""

from __future__ import annotations

from django.db import models


class OnceResult(models.Model):
    """What ``context.once(key, fn)`` got from ``fn`` while a delivery was handled. Written once and never changed."""

    delivery_id = models.UUIDField()
    key = models.CharField(max_length=200)
    result = models.BinaryField(help_text="JSON")
    created_at = models.DateTimeField()

    class Meta:
        db_table = "nexus_once_result"
        constraints = [models.UniqueConstraint(fields=["delivery_id", "key"], name="nexus_once_result_unique")]
        indexes = [models.Index(fields=["created_at"], name="nexus_once_result_created")]

    def __str__(self) -> str:
        return f"{self.key} of {self.delivery_id}"
