"""Endorsements: the only ways in which labels become less, each with who did it and why. Rows are only ever added."""

from __future__ import annotations

from django.db import models


class EndorsementKind(models.TextChoices):
    PERSON = "person", "a person endorsed it"
    APPROVAL = "approval", "a person lets it be handled as it is"
    EXTRACTION = "extraction", "it holds nothing but typed values"


class LabelEndorsement(models.Model):
    """One endorsement of one message."""

    message_id = models.UUIDField(db_index=True)
    kind = models.CharField(max_length=10, choices=EndorsementKind)
    who = models.CharField(max_length=150, help_text="The person; for an extraction the agent.")
    reason = models.TextField(help_text="For an extraction its name.")
    before = models.TextField(help_text="The labels that it had.")
    after = models.TextField(blank=True, help_text="The labels that it counts as since.")
    at = models.DateTimeField()

    class Meta:
        db_table = "nexus_label_endorsement"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(kind__in=EndorsementKind.values), name="nexus_label_endorsement_kind"
            )
        ]

    def __str__(self) -> str:
        return f"{self.message_id}: {self.get_kind_display()} ({self.who})"
