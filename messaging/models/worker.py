"""WorkerStatus: what a consumer says about itself, for health checks and counts."""

from __future__ import annotations

from datetime import timedelta

from django.db import models

SILENT_AFTER = timedelta(seconds=20)
"""A consumer whose heartbeat is older is gone, or hangs: it writes every 5 s at least."""


class WorkerStatus(models.Model):
    """One row for each life of a consumer thread. The consumer writes it now and then, never once a message.

    The counts of a consumer that was killed lack what it did after its last heartbeat.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    host = models.CharField(max_length=255)
    pid = models.IntegerField()
    thread = models.CharField(max_length=100)
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()
    stopped_at = models.DateTimeField(null=True, blank=True, help_text="Empty while it runs, and after a kill.")
    # Versions that know nothing of signatures write rows too: the database gives these an empty text.
    signing = models.CharField(max_length=7, blank=True, default="", db_default="", help_text="Its NEXUS_SIGNING.")
    signer = models.CharField(max_length=100, blank=True, default="", db_default="", help_text="Its NEXUS_SIGNER.")
    signing_problem = models.TextField(
        blank=True, default="", db_default="", help_text="Why it cannot sign, or cannot check some keys."
    )
    # Versions that know nothing of partitions write rows too.
    partitions = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="Its NEXUS_QUEUE_PARTITIONS; 0: it reads no partition."
    )
    outcomes = models.JSONField(default=dict, help_text="How many deliveries had which outcome.")

    class Meta:
        db_table = "nexus_worker_status"
        verbose_name_plural = "worker statuses"
        indexes = [models.Index(fields=["heartbeat_at"], name="nexus_worker_heartbeat")]

    def __str__(self) -> str:
        return f"{self.host}, process {self.pid}, {self.thread}"
