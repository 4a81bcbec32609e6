"""Counting attempts before they are made, so that a message which kills its worker is counted too.

A delivery whose workflow another transaction has locked is not charged: its first handling may still run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from messaging import log
from messaging.core.outcome import Outcome
from messaging.directory.retry_policies import retry_policy
from messaging.models import POLLED_STATES, DeadReason, Delivery, DeliveryState, Workflow, WorkflowStatus
from messaging.outcomes import Applied, Decision, Failure, apply

MIN_ATTEMPTS = 3
"""From this many attempts on that an agent's policy allows, one may be counted against a delivery without proof."""


@dataclass(slots=True)
class Charged:
    """What became of suspects.

    Args:
        counted: an attempt was counted; they may be handled together.
        busy: another transaction holds their workflow; nothing was counted.
    """

    counted: set[UUID] = field(default_factory=set)
    busy: set[UUID] = field(default_factory=set)


def charge_together(suspects: Mapping[UUID, UUID]) -> Charged:
    """Count one attempt of each delivery that was never tried, before they are handled in one transaction.

    A broker that lost a connection hands out again whatever it had handed out; most of it killed nobody. So these are
    handled together once. If that kills the worker, each has an attempt counted and is handled alone from then on.

    Args:
        suspects: delivery id → workflow id.
    """
    charged = Charged()
    with transaction.atomic():
        locked = log.lock_workflows(set(suspects.values()), wait=False)
        free = [key for key, workflow in suspects.items() if workflow in locked]
        charged.busy = _busy(suspects, locked)
        untried = Delivery.objects.filter(
            pk__in=free, attempts=0, state__in=[DeliveryState.PENDING, DeliveryState.SENT, DeliveryState.HELD]
        )
        found = untried.select_for_update(no_key=True, skip_locked=True).values_list("pk", "agent")
        charged.counted = {key for key, agent in found if retry_policy(agent).max_attempts >= MIN_ATTEMPTS}
        Delivery.objects.filter(pk__in=charged.counted).update(attempts=1)
    return charged


def _busy(suspects: Mapping[UUID, UUID], locked: Collection[UUID]) -> set[UUID]:
    missing = {workflow for workflow in suspects.values() if workflow not in locked}
    there = set(Workflow.objects.filter(pk__in=missing).values_list("pk", flat=True)) if missing else set()
    return {key for key, workflow in suspects.items() if workflow in there}


def charge(delivery_id: UUID, workflow_id: UUID) -> Applied | None:
    """Count an attempt before it is made.

    What will not be handled now, as its predecessor is missing or its workflow is stopped, is not charged.

    Returns:
        None when it may be tried; otherwise what was decided: DEAD when its attempts are used up, DUPLICATE when there
        is nothing to handle, RETRY when its workflow is busy.
    """
    now = timezone.now()
    with transaction.atomic():
        if not log.lock_workflows([workflow_id], wait=False) and Workflow.objects.filter(pk=workflow_id).exists():
            return apply([postponed(delivery_id)], now)
        waiting = Delivery.objects.filter(pk=delivery_id, state__in=POLLED_STATES)
        its_turn = waiting.filter(workflow__status=WorkflowStatus.RUNNING, position__lte=F("mailbox__processed") + 1)
        if not its_turn.update(attempts=F("attempts") + 1):
            settled = Delivery.objects.filter(pk=delivery_id).exclude(state__in=POLLED_STATES)
            return apply([Decision(Outcome.DUPLICATE, delivery_id)], now) if settled.exists() else None
        attempts, agent = waiting.values_list("attempts", "agent").get()
        limit = retry_policy(agent).max_attempts
        if attempts <= limit:
            return None
        detail = f"Its worker died at each of {limit} attempts while handling it alone."
        failure = Failure(DeadReason.CRASH_LOOP, "WorkerLost", detail)
        return apply([Decision(Outcome.DEAD, delivery_id, agent, failure)], now)


POSTPONE_SECONDS = 1.0
"""Until a delivery whose workflow stays locked is tried again."""


def postponed(delivery_id: UUID) -> Decision:
    """The decision that a delivery is tried again in a while, without an attempt counted."""
    return Decision(Outcome.RETRY, delivery_id, available_at=timezone.now() + timedelta(seconds=POSTPONE_SECONDS))
