"""Sending timers that have become due."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from messaging import log
from messaging.core.errors import NexusError, UnknownWorkflow, WorkflowClosed
from messaging.models import OPEN_STATUSES, DeliveryState, TimerState
from messaging.security.access.holding import holding_policy
from messaging.sending import outbox
from messaging.sending.later import as_outgoing

logger = logging.getLogger("nexus.relay")

AT_ONCE = 500
MAX_ATTEMPTS = 12
MAX_WAIT = 300.0
"""Seconds between two attempts to send a timer that is refused."""


def send_due_timers() -> int:
    """Send what is due, at most ``AT_ONCE`` messages; return how many.

    A timer whose workflow somebody else holds at the moment is left for the next call.
    """
    due = log.due_timers(timezone.now(), AT_ONCE)
    if not due:
        return 0
    try:
        return _send(due)
    except NexusError:  # one of them is refused: not clear which
        return sum(_send_alone(timer) for timer in due)


def _send(due: Sequence[tuple[UUID, UUID]]) -> int:
    with transaction.atomic(), holding_policy():
        workflows = log.lock_workflows({workflow_id for _, workflow_id in due}, wait=False)
        timers = log.take_timers([timer_id for timer_id, workflow_id in due if workflow_id in workflows])
        ended = {timer.id for timer in timers if workflows[timer.workflow_id].status not in OPEN_STATUSES}
        stored = outbox.store([as_outgoing(timer) for timer in timers if timer.id not in ended], workflows)
        log.save_sequences(workflows.values())
        # There is no publisher behind this: the relay publishes it in the same turn.
        log.reschedule([delivery.id for delivery in stored.deliveries], DeliveryState.PENDING, timezone.now())
        return len(stored.receipts)


def _send_alone(due: tuple[UUID, UUID]) -> int:
    try:
        return _send([due])
    except NexusError as error:
        _put_off(due[0], due[1], error)
        return 0


def _put_off(timer_id: UUID, workflow_id: UUID, error: NexusError) -> None:
    """Try again later what is refused for now (a full mailbox, an agent of the next deploy); give up in the end."""
    with transaction.atomic():
        workflows = log.lock_workflows([workflow_id], wait=True)
        if workflow_id not in workflows or isinstance(error, WorkflowClosed | UnknownWorkflow):
            log.take_timers([timer_id])
            return
        attempts = log.timer_attempts(timer_id)
        if attempts is None:
            return
        given_up = attempts + 1 >= MAX_ATTEMPTS
        wait = timedelta(seconds=min(MAX_WAIT, 2.0**attempts))
        log.put_off_timer(
            timer_id,
            state=(TimerState.FAILED if given_up else TimerState.WAITING).value,
            due_at=timezone.now() + wait,
            error=str(error),
        )
    logger.warning(
        "Timer %s of workflow %s was refused (%s). %s",
        timer_id,
        workflow_id,
        error,
        "It is given up: see the timers in the admin." if given_up else "Trying again later.",
    )
