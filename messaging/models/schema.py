"""Schemas of message types that operators registered."""

from __future__ import annotations

from django.db import models


class Compatibility(models.TextChoices):
    """Which versions must be able to read which."""

    NONE = "none"
    BACKWARD = "backward"  # the new version reads what the one before wrote
    BACKWARD_TRANSITIVE = "backward_transitive"  # … what all before wrote
    FORWARD = "forward"  # the version before reads what the new one writes
    FORWARD_TRANSITIVE = "forward_transitive"
    FULL = "full"
    FULL_TRANSITIVE = "full_transitive"


class MessageSchema(models.Model):
    """One version of a type's schema. A row never changes, but for the mark of deprecation."""

    type = models.CharField(max_length=200)
    version = models.PositiveIntegerField()
    document = models.JSONField()
    compatibility = models.CharField(
        max_length=19, choices=Compatibility, default=Compatibility.FULL_TRANSITIVE
    )  # by which it was accepted
    deprecated = models.BooleanField(default=False)
    registered_at = models.DateTimeField(auto_now_add=True)
    registered_by = models.CharField(max_length=150, blank=True, default="")
    override_reason = models.TextField(blank=True, default="")  # why it was accepted although not proven compatible

    class Meta:
        db_table = "nexus_message_schema"
        constraints = [
            models.UniqueConstraint(fields=["type", "version"], name="nexus_message_schema_unique"),
            models.CheckConstraint(condition=models.Q(version__gte=1), name="nexus_message_schema_version"),
            models.CheckConstraint(
                condition=models.Q(compatibility__in=Compatibility.values), name="nexus_message_schema_mode"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} version {self.version}"
