"""WorkerStatus: what a consumer says about itself, for health checks and counts."""

from __future__ import annotations

from django.db import models


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
    outcomes = models.JSONField(default=dict, help_text="How many deliveries had which outcome.")

    class Meta:
        db_table = "nexus_worker_status"
        verbose_name_plural = "worker statuses"
        indexes = [models.Index(fields=["heartbeat_at"], name="nexus_worker_heartbeat")]

    def __str__(self) -> str:
        return f"{self.host}, process {self.pid}, {self.thread}"
