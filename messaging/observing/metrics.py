"""What ``/metrics`` says: counters and critical time from the tallies, gauges from the log, each by an index.

Tallies commit with what they count. So the figures are those of the log, whatever process died at whatever moment, and
the same whichever web process is asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from django.db.models import Count, Sum
from django.utils import timezone
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from messaging.log import fold_tallies
from messaging.models import (
    POLLED_STATES,
    Counted,
    DeadLetter,
    DeadLetterStatus,
    Delivery,
    MetricTally,
    QueueMarker,
    RelayLease,
    Verdict,
    VerdictState,
    WorkerStatus,
    Workflow,
    WorkflowStatus,
)
from messaging.models.worker import SILENT_AFTER
from messaging.observing.probes import oldest_unhandled
from messaging.outcomes.counting import BOUNDS
from messaging.transport import breakers

FOLD_EVERY = 60.0
"""Seconds between two times that the relay folds the tallies of all threads into their total."""


def fold() -> int:
    """Fold the tallies; nothing is repaired by it."""
    fold_tallies()
    return 0


class NexusCollector(Collector):
    """Reads everything anew for each scrape. Put it into the registry of a project that has one of its own."""

    def collect(self) -> Iterator[Metric]:
        """The metrics, one by one.

        Raises:
            django.db.Error: the database does not answer.
        """
        yield from _tallies()
        yield from _deliveries()
        yield from _waiting_for_people()
        yield from _processes()


def exposition() -> bytes:
    """All metrics in Prometheus' text format.

    Raises:
        django.db.Error: the database does not answer.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(NexusCollector())
    return generate_latest(registry)


def _tallies() -> Iterator[Metric]:
    sent = CounterMetricFamily("nexus_messages_sent", "Messages stored in the log.", labels=["agent"])
    decided = CounterMetricFamily("nexus_deliveries", "What became of deliveries.", labels=["agent", "outcome"])
    classes: dict[str, int] = defaultdict(int)
    milliseconds = 0
    sums = MetricTally.objects.order_by().values_list("name", "agent", "label").annotate(sum=Sum("value"))
    for name, agent, label, value in sums:
        match name:
            case Counted.SENT:
                sent.add_metric([agent], value)
            case Counted.OUTCOME:
                decided.add_metric([agent, label], value)
            case Counted.CRITICAL_TIME:
                classes[label] = value
            case Counted.CRITICAL_MILLISECONDS:
                milliseconds = value
            case _:
                pass  # of a newer version
    yield sent
    yield decided
    histogram = HistogramMetricFamily("nexus_critical_time_seconds", "From sent to handled.")
    buckets, below = [], 0
    for bound in (*(str(bound) for bound in BOUNDS), "+Inf"):
        below += classes[bound]
        buckets.append((bound, below))
    histogram.add_metric([], buckets, milliseconds / 1000)
    yield histogram


def _deliveries() -> Iterator[Metric]:
    backlog = GaugeMetricFamily("nexus_backlog", "Deliveries that are not handled.", labels=["agent", "state"])
    for row in (
        Delivery.objects.filter(state__in=[str(state) for state in POLLED_STATES])
        .order_by()
        .values("agent", "state")
        .annotate(count=Count("pk"))
    ):
        backlog.add_metric([row["agent"], row["state"]], row["count"])
    yield backlog
    yield GaugeMetricFamily(
        "nexus_oldest_unhandled_seconds", "How long the delivery that waits longest waits.", value=oldest_unhandled()
    )
    unread = GaugeMetricFamily("nexus_queue_unread_seconds", "How far a queue is not read.", labels=["queue"])
    for marker in QueueMarker.objects.all():
        seconds = 0.0 if marker.seen_at is None else (marker.sent_at - marker.seen_at).total_seconds()
        unread.add_metric([marker.queue], seconds)
    yield unread


def _waiting_for_people() -> Iterator[Metric]:
    letters = GaugeMetricFamily("nexus_dead_letters_open", "Dead letters that wait for a person.", labels=["reason"])
    found = DeadLetter.objects.filter(status=DeadLetterStatus.OPEN).order_by().values_list("reason")
    for reason, count in found.annotate(count=Count("pk")):
        letters.add_metric([reason], count)
    yield letters
    yield GaugeMetricFamily(
        "nexus_quarantined",
        "Deliveries in quarantine that wait for a person.",
        value=Verdict.objects.filter(state=VerdictState.WAITING).count(),
    )
    yield GaugeMetricFamily(
        "nexus_workflows_parked",
        "Workflows that wait for a person.",
        value=Workflow.objects.filter(status=WorkflowStatus.PARKED).count(),
    )


def _processes() -> Iterator[Metric]:
    now = timezone.now()
    yield GaugeMetricFamily(
        "nexus_workers",
        "Consumers at work.",
        value=WorkerStatus.objects.filter(stopped_at=None, heartbeat_at__gt=now - SILENT_AFTER).count(),
    )
    lease = RelayLease.objects.filter(name="relay").first()
    leads = lease is not None and lease.expires_at > now
    yield GaugeMetricFamily("nexus_relay_leader", "1 while a relay leads.", value=float(leads))
    open_breakers = GaugeMetricFamily("nexus_breaker_open", "1 while a circuit breaker refuses.", labels=["breaker"])
    for name, refuses in breakers.refusing().items():
        open_breakers.add_metric([name], float(refuses))
    yield open_breakers
