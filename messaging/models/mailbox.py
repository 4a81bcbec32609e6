"""Mailbox: the two counters of one agent in one workflow."""

from __future__ import annotations

from django.db import models

from messaging.models.workflow import Workflow


class Mailbox(models.Model):
    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="mailboxes", db_index=False)
    agent = models.CharField(max_length=100)
    sent = models.BigIntegerField(default=0, help_text="Position of the last delivery sent to it.")
    processed = models.BigIntegerField(default=0, help_text="Position up to which everything is done.")

    labels = models.TextField(  # noqa: DJ001 - NULL: the statement that creates a mailbox does not name it
        null=True, blank=True, help_text="Of everything that the agent handled."
    )

    class Meta:
        db_table = "nexus_mailbox"
        verbose_name_plural = "mailboxes"
        constraints = [
            models.UniqueConstraint(fields=["workflow", "agent"], name="nexus_mailbox_unique"),
            models.CheckConstraint(
                condition=models.Q(processed__gte=0) & models.Q(sent__gte=models.F("processed")),
                name="nexus_mailbox_counters",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.agent}: {self.processed} of {self.sent}"
