"""What is asked to tell whether an installation works."""

from __future__ import annotations

from messaging.observing.health import DATABASE, RELAY, Finding, HealthChecker, Probe
from messaging.observing.probes import BACKLOG, BREAKERS, DEAD_LETTERS, DISK, PARKED, SIGNATURES, WORKERS
from messaging.transport.current import get_broker


def check_broker() -> Finding:
    """Whether the broker takes messages."""
    broker = get_broker()
    try:
        health = broker.health_check()
    finally:
        broker.close()
    return Finding(ok=health.ok, detail=health.detail)


BROKER = Probe(name="broker", check=check_broker, timeout=5.0)

system = HealthChecker((DATABASE, BROKER, RELAY, WORKERS, BACKLOG, BREAKERS, DEAD_LETTERS, PARKED, SIGNATURES, DISK))
"""What ``/health/`` and ``manage.py nexus_health`` report. A new probe is added here."""

readiness = HealthChecker((DATABASE,))
"""What a web process needs to do its work: it stores messages, whatever the broker does."""
