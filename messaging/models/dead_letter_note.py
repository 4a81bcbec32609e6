"""DeadLetterNote: what people know about the cause of a group of dead letters."""

from __future__ import annotations

from django.db import models


class DeadLetterNote(models.Model):
    """The note of one group; it stays when the group is empty, for the next time."""

    group = models.CharField(
        max_length=64, primary_key=True, help_text="Digest of what its dead letters have in common."
    )
    text = models.TextField()
    who = models.CharField(max_length=150, help_text="Who wrote it.")
    at = models.DateTimeField()

    class Meta:
        db_table = "nexus_dead_letter_note"

    def __str__(self) -> str:
        return f"{self.text[:60]} ({self.who})"
