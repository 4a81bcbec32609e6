"""What the relay and the workers write about themselves."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.safestring import SafeString

from messaging.admin import display
from messaging.admin.base import LogAdmin
from messaging.models import QueueMarker, RelayLease, WorkerStatus
from messaging.models.worker import SILENT_AFTER
from messaging.operators.index_state import IndexState


@admin.register(RelayLease)
class RelayLeaseAdmin(LogAdmin):
    """Which relay leads."""

    internal = True
    list_display = (
        "name",
        "holder",
        display.time_column("renewed_at", "renewed"),
        display.time_column("expires_at", "expires"),
    )


@admin.register(QueueMarker)
class QueueMarkerAdmin(LogAdmin):
    """How far each queue has been read."""

    internal = True
    list_display = ("queue", display.time_column("sent_at", "sent"), display.time_column("seen_at", "seen"))
    ordering = ("queue",)


def silent_workers() -> QuerySet[WorkerStatus]:
    """Consumers that say nothing any more and did not stop."""
    return WorkerStatus.objects.filter(stopped_at=None, heartbeat_at__lt=timezone.now() - SILENT_AFTER)


@admin.register(WorkerStatus)
class WorkerStatusAdmin(LogAdmin):
    """What each consumer did."""

    index_group = "Agents and teams"
    index_states = (IndexState(word="silent", rows=silent_workers, wrong=True),)
    list_display = (
        "__str__",
        "state",
        display.time_column("started_at", "started"),
        display.time_column("heartbeat_at", "heartbeat"),
        display.time_column("stopped_at", "stopped"),
        "signing",
        "signer",
        "counts",
    )
    ordering = ("-heartbeat_at",)
    fields = (
        "host",
        "pid",
        "thread",
        "state",
        "started_at",
        "heartbeat_at",
        "stopped_at",
        "signing",
        "signer",
        "signing_problem",
        "all_counts",
    )
    readonly_fields = fields

    @admin.display(description="state")
    def state(self, worker: WorkerStatus) -> SafeString:
        """A consumer that was killed could not say so; it is silent."""
        if worker.stopped_at is not None:
            return display.state("stopped")
        silent = worker.heartbeat_at < timezone.now() - SILENT_AFTER
        return display.state("silent", "silent: killed, or hangs") if silent else display.state("at work")

    @admin.display(description="deliveries")
    def counts(self, worker: WorkerStatus) -> str:
        return ", ".join(f"{count} {outcome}" for outcome, count in sorted(worker.outcomes.items())) or "none"

    @admin.display(description="deliveries by outcome")
    def all_counts(self, worker: WorkerStatus) -> SafeString:
        return display.pretty_json(worker.outcomes)
