"""Messages that are to be sent later, once or again and again."""

from __future__ import annotations

from django.db import models

from messaging.core.ids import uuid7
from messaging.models.workflow import Workflow


class TimerState(models.TextChoices):
    WAITING = "waiting"  # is sent at due_at
    FAILED = "failed"  # was refused again and again when it was due; nobody sends it any more


class Timer(models.Model):
    """A message with a delay. It has no number: it gets one when it is due, and this row goes in the same moment."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workflow = models.ForeignKey(
        Workflow, on_delete=models.CASCADE, db_constraint=False, db_index=False, related_name="timers"
    )
    source = models.CharField("sender", max_length=100)
    recipient = models.CharField(max_length=100)
    type = models.CharField(max_length=200)
    envelope = models.BinaryField(help_text="What is sent, without its numbers.")
    deduplication_id = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001 - NULL keeps it unique
    expires_in = models.FloatField(null=True, blank=True, help_text="Seconds from when it is due.")
    due_at = models.DateTimeField()
    state = models.CharField(max_length=7, choices=TimerState, default=TimerState.WAITING)
    attempts = models.SmallIntegerField(default=0)
    last_error = models.TextField(blank=True, default="")
    created_at = models.DateTimeField()

    class Meta:
        db_table = "nexus_timer"
        constraints = [
            models.UniqueConstraint(
                fields=["workflow", "source", "deduplication_id"], name="nexus_timer_deduplication"
            ),
            models.CheckConstraint(condition=models.Q(state__in=TimerState.values), name="nexus_timer_state"),
        ]
        indexes = [
            models.Index(fields=["due_at"], name="nexus_timer_due", condition=models.Q(state=TimerState.WAITING.value))
        ]

    def __str__(self) -> str:
        return f"{self.type} to {self.recipient} at {self.due_at:%Y-%m-%d %H:%M:%S}"


class Schedule(models.Model):
    """A message that is sent again and again."""

    name = models.CharField(max_length=200, unique=True)
    workflow = models.ForeignKey(
        Workflow,
        on_delete=models.CASCADE,
        db_constraint=False,
        null=True,
        blank=True,
        related_name="schedules",
        help_text="Empty: every message starts a workflow of its own.",
    )
    source = models.CharField("sender", max_length=100)
    recipient = models.CharField(max_length=100)
    type = models.CharField(max_length=200)
    data = models.JSONField(null=True, blank=True)
    every = models.FloatField(null=True, blank=True, help_text="Seconds.")
    cron = models.CharField(max_length=100, blank=True, default="", help_text="Five fields, in UTC.")
    due_at = models.DateTimeField(db_index=True)
    last_sent_at = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True, default="")

    class Meta:
        db_table = "nexus_schedule"

    def __str__(self) -> str:
        return self.name
