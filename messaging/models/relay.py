"""What the relay keeps: who leads, and how far each queue has been read."""

from __future__ import annotations

from django.db import models


class RelayLease(models.Model):
    """One row, ``name="relay"``: the relay that holds it before ``expires_at`` leads."""

    name = models.CharField(max_length=20, primary_key=True)
    holder = models.CharField(max_length=200)
    token = models.UUIDField()
    expires_at = models.DateTimeField()
    renewed_at = models.DateTimeField()

    class Meta:
        db_table = "nexus_relay_lease"

    def __str__(self) -> str:
        return f"{self.name}: {self.holder}"


class QueueMarker(models.Model):
    """How far a queue has been read.

    The relay sends a marker through each queue. Queues are first in, first out: once a worker has seen a marker that
    was sent at time t, whatever was published before t has left the queue. Without this, a long backlog would look
    like loss and be published over and over. A partition has a marker of its own, such as ``transactional.3``.
    """

    queue = models.CharField(max_length=20, primary_key=True)
    sent_at = models.DateTimeField(help_text="When the latest marker was sent.")
    seen_at = models.DateTimeField(
        null=True, blank=True, help_text="Send time of the newest marker that a worker has seen."
    )

    class Meta:
        db_table = "nexus_queue_marker"

    def __str__(self) -> str:
        return self.queue
