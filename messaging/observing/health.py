"""Health: probes that say what works, each within its timeout and without ever raising.

A probe is a name and a function; ``HealthChecker`` runs several at once. What a probe asks may hang for longer than
anybody wants to wait, so each runs in a thread of its own; one that has not come back is not started a second time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from time import monotonic

from django.db import connection, connections
from django.utils import timezone

from messaging.conf import get_settings
from messaging.models import RelayLease

logger = logging.getLogger("nexus.health")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a probe found.

    Args:
        ok: whether it works.
        detail: what works, or what is wrong and what to do.
        latency: seconds that finding out took.
        degraded: it works, and something waits for a person.
    """

    ok: bool
    detail: str
    latency: float = 0.0
    degraded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Something that can be asked whether it works.

    Args:
        name: in the report, such as ``"database"``.
        check: asks; whatever it raises counts as not working.
        timeout: seconds to wait for its answer.
    """

    name: str
    check: Callable[[], Finding]
    timeout: float = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """The findings of all probes, by name."""

    findings: dict[str, Finding]

    @property
    def ok(self) -> bool:
        """Whether everything works."""
        return all(finding.ok for finding in self.findings.values())

    @property
    def status(self) -> str:
        """``"ok"``, ``"degraded"`` (all works, and something waits for a person) or ``"failing"``."""
        if not self.ok:
            return "failing"
        return "degraded" if any(finding.degraded for finding in self.findings.values()) else "ok"

    def as_dict(self) -> dict[str, object]:
        """The report as JSON carries it; latencies are in seconds."""
        return {
            "status": self.status,
            **{
                name: {
                    "ok": finding.ok,
                    "detail": finding.detail,
                    "latency": round(finding.latency, 4),
                    "degraded": finding.degraded,
                }
                for name, finding in self.findings.items()
            },
        }


class _Run:
    """One run of a probe in its thread."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._started = monotonic()
        self._finding: Finding | None = None
        self._thread = threading.Thread(target=self._ask, name=f"nexus-probe-{probe.name}", daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        try:
            found = self._probe.check()
        except Exception as error:  # noqa: BLE001 - a probe's failure is its finding
            logger.warning("The probe of %s failed: %r", self._probe.name, error)
            found = Finding(ok=False, detail=f"{type(error).__name__}: {error}".strip())
        finally:
            connections.close_all()
        self._finding = replace(found, latency=monotonic() - self._started)

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def result(self, deadline: float) -> Finding:
        """Wait for the answer until ``deadline`` (of ``monotonic()``)."""
        self._thread.join(max(0.0, deadline - monotonic()))
        waited = monotonic() - self._started
        return self._finding or Finding(ok=False, detail=f"no answer within {waited:.1f} s", latency=waited)


class HealthChecker:
    """Runs probes side by side. Threads may share it.

    Args:
        probes: what to ask.
        max_age: seconds for which a report is given again, so that many callers do not become many connections.
    """

    def __init__(self, probes: Sequence[Probe], *, max_age: float = 1.0) -> None:
        self.probes = tuple(probes)
        self._max_age = max_age
        self._lock = threading.Lock()
        self._runs: dict[str, _Run] = {}
        self._report: HealthReport | None = None
        self._reported_at = float("-inf")

    def report(self) -> HealthReport:
        """Ask every probe, or give the report of a moment ago. Never raises."""
        with self._lock:
            if self._report is None or monotonic() - self._reported_at > self._max_age:
                self._report = self._ask_all()
                self._reported_at = monotonic()
            return self._report

    def _ask_all(self) -> HealthReport:
        started = monotonic()
        for probe in self.probes:
            run = self._runs.get(probe.name)
            if run is None or not run.running:
                self._runs[probe.name] = _Run(probe)
        return HealthReport(
            findings={probe.name: self._runs[probe.name].result(started + probe.timeout) for probe in self.probes}
        )


def check_database() -> Finding:
    """Whether the database answers."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()
    version = ".".join(str(part) for part in connection.get_database_version())
    return Finding(ok=True, detail=f"{connection.display_name} {version} answers")


def check_relay() -> Finding:
    """Whether a relay leads: its lease is fresh, or ended so recently that another one is about to take over."""
    settings = get_settings()
    lease = RelayLease.objects.filter(name="relay").first()
    if lease is None:
        return Finding(ok=False, detail="no relay has ever run; start one: manage.py nexus_relay")
    takeover = timedelta(seconds=max(settings.relay_lease, settings.publish_timeout))
    now = timezone.now()
    if lease.expires_at + takeover > now:
        return Finding(ok=True, detail=f"{lease.holder} leads")
    silent = (now - lease.renewed_at).total_seconds()
    return Finding(
        ok=False,
        detail=f"no relay leads, the last one was {lease.holder} {silent:.0f} s ago; start: manage.py nexus_relay",
    )


DATABASE = Probe(name="database", check=check_database)
RELAY = Probe(name="relay", check=check_relay)
