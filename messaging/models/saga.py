"""Sagas: many steps, each in an agent's own transaction, with one outcome."""

from __future__ import annotations

from django.db import models


class SagaStatus(models.TextChoices):
    RUNNING = "running"
    WAITING = "waiting"  # for a person or a signal
    COMPENSATING = "compensating"  # what was done is undone, in reverse
    PARKED = "parked"  # a step can neither be done nor undone; an operator decides
    COMPLETED = "completed"
    COMPENSATED = "compensated"
    FORCED = "forced"  # ended by an operator as it stood


OPEN_SAGAS = (SagaStatus.RUNNING, SagaStatus.WAITING, SagaStatus.COMPENSATING, SagaStatus.PARKED)


class SagaRun(models.Model):
    """One run of a saga, with the plan it was started with: a deploy that changes the definition does not touch it.

    Its id is that of its workflow; the row stays when the workflow is pruned from the log.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    name = models.CharField(max_length=200)
    version = models.IntegerField()
    status = models.CharField(max_length=12, choices=SagaStatus, default=SagaStatus.RUNNING)
    reason = models.TextField(blank=True, default="")
    plan = models.TextField(help_text="JSON")
    state = models.TextField(help_text="JSON")
    journal_count = models.IntegerField(default=0)
    journal_head = models.CharField(max_length=64, blank=True, default="", help_text="Hash of the last entry.")
    started_at = models.DateTimeField()
    changed_at = models.DateTimeField()

    class Meta:
        db_table = "nexus_saga"
        verbose_name = "saga"
        constraints = [
            models.CheckConstraint(condition=models.Q(status__in=SagaStatus.values), name="nexus_saga_status")
        ]
        indexes = [models.Index(fields=["status", "id"], name="nexus_saga_status")]

    def __str__(self) -> str:
        return f"{self.name} ({self.id.hex[-8:]})"


class StepState(models.TextChoices):
    DOING = "doing"  # by a leased participant; its outcome is not known yet
    DONE = "done"
    FAILED = "failed"  # nothing of it was done
    UNKNOWN = "unknown"  # it failed in its middle
    UNDONE = "undone"
    BARRED = "barred"  # it was never done, and never will be


class StepRecord(models.Model):
    """What a participant did for a step, written in the participant's own transaction.

    The one row for each step makes a second message harmless, an undo of what was never done a mere bar, and a step
    that comes after its undo impossible.
    """

    saga_id = models.UUIDField()
    step = models.CharField(max_length=100)
    state = models.CharField(max_length=7, choices=StepState)
    attempt = models.IntegerField(default=0)
    result = models.TextField(blank=True, default="", help_text="JSON; the reason where it failed.")

    class Meta:
        db_table = "nexus_saga_step"
        verbose_name = "step of a saga"
        verbose_name_plural = "steps of sagas"
        constraints = [models.UniqueConstraint(fields=["saga_id", "step"], name="nexus_saga_step_unique")]

    def __str__(self) -> str:
        return f"{self.step}: {self.state}"


class SemanticLock(models.Model):
    """What a saga has for itself until it ended: no lock of the database, only a row that others ask for."""

    resource = models.CharField(max_length=200, primary_key=True)
    saga_id = models.UUIDField(db_index=True)
    state = models.CharField(max_length=12, help_text="Of the saga; compensating: what it did is being taken back.")
    since = models.DateTimeField()

    class Meta:
        db_table = "nexus_lock"

    def __str__(self) -> str:
        return self.resource
