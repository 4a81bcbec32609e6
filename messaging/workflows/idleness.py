"""Workflows in which nothing was said for too long.

Nothing is written when a message is sent: when it is time to look, the log tells when the last one was, and the next
look is when that would be too long ago.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from messaging.models import Delivery, DeliveryState, IdlePolicy, Message, Timer, TimerState, Workflow, WorkflowStatus
from messaging.workflows import life_cycle

logger = logging.getLogger("nexus.workflows")


def end_idle(limit: int) -> int:
    """Do with workflows that were idle too long what each one's policy says; return how many that were.

    Args:
        limit: most workflows to look at.
    """
    now = timezone.now()
    due = Workflow.objects.filter(status=WorkflowStatus.RUNNING, idle_look_at__lte=now)
    chosen = list(due.order_by("idle_look_at").values_list("pk", flat=True)[:limit])
    return sum(_look(workflow_id, now) for workflow_id in chosen)


def _look(workflow_id: UUID, now: datetime) -> bool:
    with transaction.atomic():
        locked = Workflow.objects.select_for_update(no_key=True, skip_locked=True)  # one that is locked is not idle
        workflow = locked.filter(pk=workflow_id, status=WorkflowStatus.RUNNING, idle_look_at__lte=now).first()
        if workflow is None or workflow.idle_timeout is None:
            return False
        look_at = _look_again_at(workflow, now)
        if look_at is not None:
            Workflow.objects.filter(pk=workflow_id).update(idle_look_at=look_at)
            return False
        reason = f"nothing was said in it for {workflow.idle_timeout:g} s (its idle_timeout)"
        if workflow.idle_policy == IdlePolicy.CANCEL:
            life_cycle.cancel(workflow_id, reason)
        elif workflow.idle_policy == IdlePolicy.COMPLETE:
            life_cycle.complete(workflow_id)
        else:
            life_cycle.park(workflow_id, f"{reason}; resume it, and that time begins anew, or cancel it")
    logger.warning("Workflow %s (%s): %s; policy: %s.", workflow_id, workflow.name, reason, workflow.idle_policy)
    return True


def _look_again_at(workflow: Workflow, now: datetime) -> datetime | None:
    """When to look again; None: it is idle now. What waits for its time, or is at work, is not idle."""
    patience = timedelta(seconds=workflow.idle_timeout or 0)
    spoken = Message.objects.filter(workflow=workflow, sequence=workflow.sequence).values_list("created_at", flat=True)
    last = spoken.first()
    if last is not None and last + patience > now:
        return last + patience
    timers = Timer.objects.filter(workflow=workflow, state=TimerState.WAITING).order_by("due_at")
    due_at = timers.values_list("due_at", flat=True).first()
    if due_at is not None:
        return max(due_at, now) + patience
    at_work = Delivery.objects.filter(mailbox__workflow=workflow, state=DeliveryState.LEASED, available_at__gt=now)
    return now + patience if at_work.exists() else None
