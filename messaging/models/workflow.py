"""Workflow: one conversation or job, the unit of order, pause, cancel and budget."""

from __future__ import annotations

import uuid

from django.db import models

from messaging.core.ids import uuid7


class WorkflowStatus(models.TextChoices):
    RUNNING = "running"
    PAUSED = "paused"  # by an operator; deliveries are held
    PARKED = "parked"  # by a failure, waiting for an operator; deliveries are held
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"  # its deadline passed


OPEN_STATUSES = (WorkflowStatus.RUNNING, WorkflowStatus.PAUSED, WorkflowStatus.PARKED)


class FailurePolicy(models.TextChoices):
    PARK = "park", "park: stop the workflow until an operator decides"
    SKIP = "skip", "skip: leave the dead message out and go on"


class GapPolicy(models.TextChoices):
    PARK = "park", "park: stop the workflow until an operator decides"
    SKIP = "skip", "skip: give up the missing message and go on"
    RESEND = "resend", "resend: ask the sender to send it again"


class IdlePolicy(models.TextChoices):
    PARK = "park", "park: stop the workflow until an operator decides"
    CANCEL = "cancel", "cancel: end the workflow"
    COMPLETE = "complete", "complete: silence is its proper end"


class Workflow(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=200)
    status = models.CharField(max_length=10, choices=WorkflowStatus, default=WorkflowStatus.RUNNING)
    status_reason = models.TextField(blank=True, default="")
    sequence = models.BigIntegerField(default=0, help_text="Number of the last message sent in it.")
    max_messages = models.BigIntegerField(null=True, blank=True, help_text="Empty: the limit of the settings.")
    deadline_at = models.DateTimeField(null=True, blank=True)
    failure_policy = models.CharField(max_length=6, choices=FailurePolicy, default=FailurePolicy.PARK)
    gap_policy = models.CharField(max_length=6, choices=GapPolicy, default=GapPolicy.PARK)
    idle_timeout = models.FloatField(null=True, blank=True, help_text="Seconds without a message; empty: for ever.")
    idle_policy = models.CharField(max_length=8, choices=IdlePolicy, default=IdlePolicy.PARK)
    idle_look_at = models.DateTimeField(null=True, blank=True, help_text="When the relay looks whether it is idle.")
    deduplication_id = models.CharField(max_length=200, null=True, blank=True, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "nexus_workflow"
        constraints = [
            models.CheckConstraint(condition=models.Q(status__in=WorkflowStatus.values), name="nexus_workflow_status"),
            models.CheckConstraint(condition=models.Q(sequence__gte=0), name="nexus_workflow_sequence"),
            models.CheckConstraint(
                condition=models.Q(failure_policy__in=FailurePolicy.values, gap_policy__in=GapPolicy.values),
                name="nexus_workflow_policies",
            ),
            models.CheckConstraint(
                condition=models.Q(idle_policy__in=IdlePolicy.values), name="nexus_workflow_idle_policy"
            ),
        ]
        indexes = [
            models.Index(
                fields=["deadline_at"],
                name="nexus_workflow_deadline",
                condition=models.Q(status__in=[str(status) for status in OPEN_STATUSES], deadline_at__isnull=False),
            ),
            models.Index(
                fields=["idle_look_at"],
                name="nexus_workflow_idle",
                condition=models.Q(status=str(WorkflowStatus.RUNNING), idle_look_at__isnull=False),
            ),
            models.Index(
                fields=["status"], name="nexus_workflow_parked", condition=models.Q(status=str(WorkflowStatus.PARKED))
            ),
            models.Index(
                fields=["status"], name="nexus_workflow_paused", condition=models.Q(status=str(WorkflowStatus.PAUSED))
            ),
            models.Index(fields=["created_at"], name="nexus_workflow_created"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.short_id})"

    @property
    def short_id(self) -> str:
        """The random end of the id, enough to tell workflows apart by eye."""
        return uuid.UUID(str(self.id)).hex[-8:]

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATUSES
