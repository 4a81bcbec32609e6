"""Messages that are sent again and again, by the relay."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from messaging import log
from messaging.core.arguments import check_text
from messaging.core.cron import parse_cron
from messaging.core.errors import ConfigurationError, NexusError
from messaging.core.messages import Outgoing, WorkflowOptions
from messaging.models import OPEN_STATUSES, DeliveryState, Schedule
from messaging.security.access.holding import holding_policy
from messaging.security.encryption.payloads import must_be_encrypted
from messaging.sending import outbox
from messaging.workflows import life_cycle

logger = logging.getLogger("nexus.relay")

AT_ONCE = 100
SHORTEST = 1.0
"""Seconds between two messages of a schedule."""


def schedule(
    name: str,
    *,
    recipient: str,
    type: str,
    data: Any = None,
    sender: str,
    every: float | None = None,
    cron: str | None = None,
    workflow: UUID | None = None,
) -> None:
    """Have the relay send a message again and again. Doing it again under the same name changes it.

    What was missed, by a relay that was away or a clock that was set, is sent once and not once for each time.

    Args:
        name: of the schedule.
        recipient, type, data, sender: of each message.
        every: seconds between two messages; the first comes after that time.
        cron: when to send, in place of ``every``: ``"*/10 9-17 * * 1-5"``, in UTC.
        workflow: where to send; the schedule ends with it. Without one every message starts a workflow of its own,
            named like the schedule.

    Raises:
        ConfigurationError: it says not when, or both ways; or its data would have to be encrypted.
        EnvelopeError: a name is none.
    """
    check_text("name", name)
    # Checks the names; the rest is checked at each sending, for a recipient may come with the next deploy.
    Outgoing(workflow_id=workflow or UUID(int=0), source=sender, recipient=recipient, type=type, data=data)
    if (every is None) == (cron is None):
        raise ConfigurationError(f"Schedule {name!r}: say either every=seconds or cron=….")
    if every is not None and not SHORTEST <= every <= 366 * 86_400:
        raise ConfigurationError(f"Schedule {name!r}: every is {every!r}; expected {SHORTEST:g} s to a year.")
    if data is not None and must_be_encrypted(type):
        raise ConfigurationError(
            f"Schedule {name!r}: messages of type {type!r} are encrypted (NEXUS_ENCRYPTED_TYPES), and a schedule keeps "
            "its data in clear. Schedule a message without data, whose handler sends this one."
        )
    with transaction.atomic():
        found = Schedule.objects.select_for_update().filter(name=name).first()
        row = found or Schedule(name=name, due_at=timezone.now())
        changed = (row.every, row.cron) != (every, cron or "")
        row.every, row.cron, row.workflow_id = every, cron or "", workflow
        row.source, row.recipient, row.type, row.data = sender, recipient, type, data
        if found is None or changed:
            row.due_at = _next(row, timezone.now())
        row.save()


def unschedule(name: str) -> bool:
    """End a schedule; tell whether there was one."""
    return Schedule.objects.filter(name=name).delete()[0] > 0


def _next(row: Schedule, now: datetime) -> datetime:
    """When to send next: a time in the future, at most one period away, whatever the clock did."""
    if row.every is None:
        return parse_cron(row.cron).after(now)
    period = timedelta(seconds=row.every)
    due = row.due_at + period
    return due if now < due <= now + period else now + period


def send_due_schedules() -> int:
    """Send what is due and put right what a clock that was set back left far in the future; return how many."""
    now = timezone.now()
    _heal_clock(now)
    due = list(Schedule.objects.filter(due_at__lte=now).order_by("due_at").values_list("pk", flat=True)[:AT_ONCE])
    return sum(_send(key, now) for key in due)


def _heal_clock(now: datetime) -> None:
    """A relay whose clock was ahead for a while has set times that are more than one period away."""
    for row in Schedule.objects.filter(every__isnull=False, due_at__gt=now + timedelta(minutes=1))[:AT_ONCE]:
        period = timedelta(seconds=row.every or 0.0)
        if row.due_at > now + period + timedelta(minutes=1):
            Schedule.objects.filter(pk=row.pk, due_at=row.due_at).update(due_at=now + period)


def _send(key: int, now: datetime) -> bool:
    with transaction.atomic(), holding_policy():
        row = Schedule.objects.select_for_update(skip_locked=True).filter(pk=key, due_at__lte=now).first()
        if row is None:
            return False  # another relay has it
        row.due_at, error, sent = _next(row, now), "", False
        try:
            with transaction.atomic():
                sent = _send_now(row)
        except NexusError as refused:
            error = str(refused)
            logger.warning("Schedule %s could not send, trying again at %s: %s", row.name, row.due_at, error)
        # No row is touched where its workflow had ended: it is deleted then.
        Schedule.objects.filter(pk=key).update(
            due_at=row.due_at, last_error=error, last_sent_at=now if sent else row.last_sent_at
        )
        return sent


def _send_now(row: Schedule) -> bool:
    workflow = row.workflow_id or life_cycle.start(WorkflowOptions(name=row.name))
    locked = log.lock_workflows([workflow], wait=False)
    if row.workflow_id is not None and workflow in locked and locked[workflow].status not in OPEN_STATUSES:
        row.delete()
        return False
    message = Outgoing(workflow_id=workflow, source=row.source, recipient=row.recipient, type=row.type, data=row.data)
    stored = outbox.store([message], locked)
    log.save_sequences(locked.values())
    log.reschedule([delivery.id for delivery in stored.deliveries], DeliveryState.PENDING, timezone.now())
    return True
