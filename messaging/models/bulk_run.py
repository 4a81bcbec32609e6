"""BulkRun: replaying or discarding many dead letters, as far as it is."""

from __future__ import annotations

from django.db import models

from messaging.core.ids import uuid7
from messaging.models.operator_act import Entrance


class BulkAction(models.TextChoices):
    REPLAY = "replay", "replay"
    DISCARD = "discard", "discard"


class BulkStatus(models.TextChoices):
    RUNNING = "running", "running"
    DONE = "done", "done"
    CANCELLED = "cancelled", "cancelled"


class BulkRun(models.Model):
    """One run over the dead letters that were open when it began.

    A letter and the run's counters change in one transaction, so that a run which is killed and goes on later does
    nothing twice and leaves nothing out.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    action = models.CharField(max_length=7, choices=BulkAction)
    criteria = models.JSONField(default=dict, help_text="Which dead letters; see DeadLetterFilter.")
    rate = models.FloatField(help_text="Dead letters a second, at most.")
    status = models.CharField(max_length=9, choices=BulkStatus, default=BulkStatus.RUNNING)
    who = models.CharField(max_length=150)
    entrance = models.CharField(max_length=5, choices=Entrance)
    reason = models.TextField(blank=True, default="")
    total = models.BigIntegerField(help_text="How many were open when it began.")
    last_letter = models.BigIntegerField(help_text="Id of the last that was open when it began.")
    position = models.BigIntegerField(default=0, help_text="Id of the last one it came to.")
    done = models.BigIntegerField(default=0)
    failed = models.BigIntegerField(default=0)
    problems = models.JSONField(default=list, help_text="What was wrong with the first that could not be resolved.")
    created_at = models.DateTimeField()
    next_at = models.DateTimeField(help_text="Not before that comes the next one.")
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "nexus_bulk_run"
        constraints = [
            models.CheckConstraint(condition=models.Q(status__in=BulkStatus.values), name="nexus_bulk_run_status"),
            models.CheckConstraint(condition=models.Q(action__in=BulkAction.values), name="nexus_bulk_run_action"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.total} dead letters ({self.status})"
