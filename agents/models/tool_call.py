"""The ledger of tool calls that a model asked for."""

from __future__ import annotations

from django.db import models


class ToolCallStatus(models.TextChoices):
    STARTED = "started"  # the tool was called; when its worker is gone, nobody knows whether it did its work
    FINISHED = "finished"
    FAILED = "failed"  # the tool raised; the model was told
    REPAIRED = "repaired"  # its worker died in mid-call; the model was told that nobody knows


class ToolCall(models.Model):
    """One call within the handling of one delivery.

    A finished one is never made again, whatever happens to its turn.
    """

    delivery_id = models.UUIDField()
    call_id = models.CharField(max_length=200, help_text="Round and id that the model gave to the call.")
    workflow_id = models.UUIDField(db_index=True)
    agent = models.CharField(max_length=100)
    tool = models.CharField(max_length=200)
    arguments = models.TextField(help_text="JSON as the model wrote it.")
    status = models.CharField(max_length=8, choices=ToolCallStatus, default=ToolCallStatus.STARTED)
    result = models.TextField(blank=True, default="")
    attempts = models.PositiveSmallIntegerField(default=1)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "nexus_tool_call"
        indexes = [models.Index(fields=["started_at"], name="nexus_tool_call_started")]
        constraints = [
            models.UniqueConstraint(fields=["delivery_id", "call_id"], name="nexus_tool_call_unique"),
            models.CheckConstraint(condition=models.Q(status__in=ToolCallStatus.values), name="nexus_tool_call_status"),
        ]

    def __str__(self) -> str:
        return f"{self.agent}: {self.tool} ({self.status})"
