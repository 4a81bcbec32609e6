"""The team's own tables. Its handlers write them in the same transaction as everything else that a message does.

The managers are written out for mypy, whose Django plugin only sees the apps that are always installed.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Expectation(models.Model):
    """A file that the planner named to the critic."""

    workflow = models.UUIDField()
    key = models.TextField()
    sha256 = models.CharField(max_length=64, blank=True)
    size = models.BigIntegerField()

    objects: ClassVar[models.Manager[Expectation]] = models.Manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workflow", "key"], name="audit_expectation_unique")]

    def __str__(self) -> str:
        return self.key


class Result(models.Model):
    """A checked result that the reporter holds."""

    workflow = models.UUIDField()
    key = models.TextField()
    figures = models.JSONField()

    objects: ClassVar[models.Manager[Result]] = models.Manager()

    class Meta:
        indexes = [models.Index(fields=["workflow"], name="audit_result_workflow")]

    def __str__(self) -> str:
        return self.key


class Assignment(models.Model):
    """What the reporter was asked for."""

    workflow = models.UUIDField(primary_key=True)
    details = models.JSONField()

    objects: ClassVar[models.Manager[Assignment]] = models.Manager()

    def __str__(self) -> str:
        return str(self.workflow)


class LedgerEntry(models.Model):
    """One row for each handling of a message, written inside its transaction; nothing keeps a second one out.

    The demo counts what was handled, twice handled and out of order here, independently of Nexus's own tables.
    """

    id = models.BigAutoField(primary_key=True)
    workflow = models.UUIDField()
    agent = models.CharField(max_length=100)
    message = models.UUIDField()
    position = models.BigIntegerField()

    objects: ClassVar[models.Manager[LedgerEntry]] = models.Manager()

    class Meta:
        indexes = [models.Index(fields=["workflow", "agent"], name="audit_ledger_agent")]

    def __str__(self) -> str:
        return f"{self.agent} #{self.position}"
