"""Reading ``/metrics`` as Prometheus does."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.support.installation import Installation

METRICS: dict[str, object] = {"metrics": "on", "metrics_token": "t0ken"}
"""Settings of an installation whose figures are read."""

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str) -> Samples:
    """(Name, labels) → value of every sample of an exposition, by Prometheus' own parser.

    Raises:
        ValueError: it is none.
    """
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    """The sum of a name's samples that have these labels among theirs."""
    wanted = set(labels.items())
    return sum(number for (sample, own), number in found.items() if sample == name and wanted <= set(own))


def assert_metrics_equal_the_log(installation: Installation, count: int) -> None:
    """So many messages were sent and handled, by the counters that /metrics sums up; ``METRICS`` are its settings."""
    found = samples(installation.program("metrics"))
    assert value(found, "nexus_deliveries_total", outcome="processed") == count
    assert value(found, "nexus_messages_sent_total") == count
    assert value(found, "nexus_critical_time_seconds_count") == count
    assert value(found, "nexus_relay_leader") == 1
