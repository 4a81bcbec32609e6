"""Probes of what follows the database and the broker: workers, the backlog, dead letters, the disk."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

from django.utils import timezone

from messaging.conf import get_settings
from messaging.core.ids import time_of
from messaging.directory.pausing import paused_agents
from messaging.models import (
    DeadLetter,
    DeadLetterStatus,
    Delivery,
    DeliveryState,
    WorkerStatus,
    Workflow,
    WorkflowStatus,
)
from messaging.models.worker import SILENT_AFTER
from messaging.observing.health import Finding, Probe
from messaging.security.signatures.agreement import disagreements
from messaging.security.signatures.keys import wanted_mode
from messaging.transport import breakers

MIN_FREE = 200 * 2**20
"""Bytes that should be free where this process keeps its files."""


def check_workers() -> Finding:
    """Whether a worker consumes."""
    running = WorkerStatus.objects.filter(stopped_at=None)
    alive = running.filter(heartbeat_at__gt=timezone.now() - SILENT_AFTER).count()
    if alive:
        return Finding(ok=True, detail=f"{alive} consumer{'s' * (alive > 1)} at work")
    last = WorkerStatus.objects.order_by("-heartbeat_at").first()
    since = f"; the last one was {last} at {last.heartbeat_at:%Y-%m-%d %H:%M:%S %Z}" if last else ""
    return Finding(ok=False, detail=f"no worker runs{since}; start one: celery -A <the project> worker")


def oldest_unhandled() -> float:
    """For how many seconds the delivery that waits longest has been waiting; 0.0 when none does."""
    now = timezone.now()
    waits = [0.0]
    for state, offset in ((DeliveryState.PENDING, 0.0), (DeliveryState.SENT, get_settings().redelivery_after)):
        # The first of the index; what waits for a retry or a replay is not due yet and does not count.
        due = (
            Delivery.objects.filter(state=state).order_by("available_at").values_list("available_at", flat=True).first()
        )
        if due is not None:
            waits.append((now - due).total_seconds() + offset)
    waits.append(_oldest_held(now))
    return max(waits)


def _oldest_held(now: datetime) -> float:
    """The age of the oldest message that is held although its workflow runs and its agent is not paused."""
    held = Delivery.objects.filter(state=DeliveryState.HELD, workflow__status=WorkflowStatus.RUNNING)
    first = held.exclude(agent__in=paused_agents()).order_by("pk").values_list("pk", flat=True).first()
    return 0.0 if first is None else (now - time_of(first)).total_seconds()


def check_backlog() -> Finding:
    """Whether messages are handled soon after they were sent."""
    waited, limit = oldest_unhandled(), get_settings().late_after
    if waited <= limit:
        return Finding(ok=True, detail=f"the oldest unhandled message waits for {waited:.0f} s")
    return Finding(
        ok=False,
        detail=f"the oldest unhandled message has been waiting for {waited:.0f} s, more than NEXUS_LATE_AFTER "
        f"({limit:g}): add workers, or see what they are busy with",
    )


def check_dead_letters() -> Finding:
    """How many dead letters are open. They wait for a person and make nothing fail."""
    count = DeadLetter.objects.filter(status=DeadLetterStatus.OPEN).count()
    return Finding(
        ok=True,
        detail=f"{count} open" + (": see them in the admin, or manage.py nexus_replay" if count else ""),
        degraded=count >= get_settings().degraded_dead_letters,
    )


def check_parked() -> Finding:
    """How many workflows are parked. They wait for a person."""
    count = Workflow.objects.filter(status=WorkflowStatus.PARKED).count()
    hint = ": their pages in the admin say why, or manage.py nexus_workflows list --status parked" if count else ""
    return Finding(ok=True, detail=f"{count} workflows{hint}", degraded=count >= get_settings().degraded_parked)


def check_disk() -> Finding:
    """Whether there is room where this process keeps its files."""
    folder = Path(get_settings().data_dir)
    while not folder.exists():  # nothing is kept there, and it would be made on its parent's disk
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    detail = f"{free // 2**20} MB free in {folder}"
    return Finding(ok=free >= MIN_FREE, detail=detail)


def check_signatures() -> Finding:
    """Whether all workers agree on signatures, and can make and check them."""
    found = disagreements(wanted_mode())
    if not found:
        return Finding(ok=True, detail="all workers agree")
    more = f"; and {len(found) - 1} more" if len(found) > 1 else ""
    return Finding(ok=True, detail=f"{found[0]}{more}: manage.py nexus_keys preflight", degraded=True)


WORKERS = Probe(name="workers", check=check_workers)
BACKLOG = Probe(name="backlog", check=check_backlog)
DEAD_LETTERS = Probe(name="dead letters", check=check_dead_letters)
SIGNATURES = Probe(name="signatures", check=check_signatures)
PARKED = Probe(name="parked", check=check_parked)
DISK = Probe(name="disk", check=check_disk)


def check_breakers() -> Finding:
    """Whether every breaker lets calls pass. One whose time is up counts as such: the next call is its probe."""
    found = breakers.refusing()
    stopped = ", ".join(sorted(name for name, refuses in found.items() if refuses))
    if stopped:
        return Finding(ok=False, detail=f"open: {stopped}. What they guard keeps failing; they close by themselves")
    return Finding(ok=True, detail=f"{len(found)} closed" if found else "none is used")


BREAKERS = Probe(name="breakers", check=check_breakers)
