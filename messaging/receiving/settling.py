"""The durable action of each failed outcome. Each function is one transaction of its own."""

from __future__ import annotations

import random
import traceback
from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from messaging.conf import get_settings
from messaging.core.backoff import RetryPolicy
from messaging.core.errors import (
    EnvelopeError,
    TerminalError,
    TransientError,
    UnknownAgent,
    WorkflowClosed,
    WorkflowLimit,
)
from messaging.core.ordering import Turn, turn_of
from messaging.core.outcome import Outcome
from messaging.core.registry import registry
from messaging.models import (
    POLLED_STATES,
    DeadLetter,
    DeadReason,
    Delivery,
    DeliveryState,
    FailurePolicy,
    Mailbox,
    Message,
    Workflow,
    WorkflowStatus,
)
from messaging.workflows import life_cycle as workflows

TERMINAL = (TerminalError, EnvelopeError, WorkflowClosed, WorkflowLimit)
DETAIL_LENGTH = 8_000

_jitter = random.SystemRandom()


def retry_policy(agent: str) -> RetryPolicy:
    """The agent's own retry policy, or the settings'."""
    spec = registry.get(agent)
    if spec is not None and spec.retry is not None:
        return spec.retry
    settings = get_settings()
    return RetryPolicy(max_attempts=settings.max_attempts, base=settings.retry_base, cap=settings.retry_cap)


def describe(error: BaseException) -> str:
    """The error's message and where it was raised, bounded in length."""
    text = "".join(traceback.format_exception(error, chain=False))
    # NUL cannot be stored in PostgreSQL's text.
    return text[-DETAIL_LENGTH:].replace("\x00", "\\x00")


MOST_INNOCENT = 3
"""From this many attempts on that an agent's policy allows, one may be counted against a delivery without proof."""


def charge_together(delivery_ids: Collection[UUID]) -> set[UUID]:
    """Count one attempt of each delivery that was never tried, before they are handled in one transaction.

    A broker that lost a connection hands out again whatever it had handed out; most of it killed nobody. So these are
    handled together once. If that kills the worker, each has an attempt counted and is handled alone from then on.

    Returns:
        Those that were counted; the others are to be handled alone.
    """
    with transaction.atomic():
        untried = Delivery.objects.filter(
            pk__in=delivery_ids, attempts=0, state__in=[DeliveryState.PENDING, DeliveryState.SENT, DeliveryState.HELD]
        )
        free = untried.select_for_update(no_key=True, skip_locked=True).values_list("pk", "agent")
        counted = {key for key, agent in free if retry_policy(agent).max_attempts >= MOST_INNOCENT}
        Delivery.objects.filter(pk__in=counted).update(attempts=1)
    return counted


def charge(delivery_id: UUID) -> Outcome | None:
    """Count an attempt before it is made, so that a message which kills its worker is counted too.

    What will not be handled now, as its predecessor is missing or its workflow is stopped, is not charged.

    Returns:
        DEAD when its attempts are used up (it is settled then), DUPLICATE when there is nothing to handle, otherwise
        None.
    """
    with transaction.atomic():
        waiting = Delivery.objects.filter(pk=delivery_id, state__in=POLLED_STATES)
        its_turn = waiting.filter(workflow__status=WorkflowStatus.RUNNING, position__lte=F("mailbox__processed") + 1)
        if not its_turn.update(attempts=F("attempts") + 1):
            settled = Delivery.objects.filter(pk=delivery_id).exclude(state__in=POLLED_STATES)
            return Outcome.DUPLICATE if settled.exists() else None
        attempts, agent = waiting.values_list("attempts", "agent").get()
    limit = retry_policy(agent).max_attempts
    if attempts <= limit:
        return None
    detail = f"Its worker died at each of {limit} attempts while handling it alone."
    return bury(delivery_id, DeadReason.CRASH_LOOP, "WorkerLost", detail)


def fail(delivery_id: UUID, error: Exception, *, charged: bool) -> Outcome:
    """Settle a delivery whose handler failed: RETRY with a delay, or DEAD.

    Args:
        delivery_id: of the delivery.
        error: what was raised.
        charged: whether this attempt was counted before it was made.
    """
    detail = describe(error)
    if isinstance(error, TERMINAL):
        return bury(delivery_id, DeadReason.HANDLER_ERROR, type(error).__qualname__, detail)
    with transaction.atomic():
        delivery = Delivery.objects.select_for_update(no_key=True).get(pk=delivery_id)
        if delivery.state not in POLLED_STATES:
            return Outcome.DUPLICATE
        policy = retry_policy(delivery.agent)
        attempts = delivery.attempts if charged else delivery.attempts + 1
        if not policy.exhausted(attempts, 0.0):
            delay = policy.delay(attempts, _jitter)
            if isinstance(error, TransientError) and error.retry_after is not None:
                delay = max(delay, error.retry_after)
            Delivery.objects.filter(pk=delivery_id).update(
                state=DeliveryState.PENDING,
                attempts=attempts,
                available_at=timezone.now() + timedelta(seconds=delay),
                lease_token=None,
                last_error=detail,
            )
            return Outcome.RETRY
        Delivery.objects.filter(pk=delivery_id).update(attempts=attempts)
    reason = DeadReason.UNKNOWN_AGENT if isinstance(error, UnknownAgent) else DeadReason.ATTEMPTS_USED_UP
    return bury(delivery_id, reason, type(error).__qualname__, detail)


def bury(delivery_id: UUID, reason: DeadReason, error: str, detail: str) -> Outcome:
    """Make a delivery DEAD with its dead letter, and park its workflow or go on without it, as its policy says."""
    with transaction.atomic():
        workflow_id = Delivery.objects.values_list("workflow_id", flat=True).get(pk=delivery_id)
        workflow = workflows.lock(workflow_id)
        delivery = Delivery.objects.select_for_update(no_key=True).get(pk=delivery_id)
        if delivery.state not in POLLED_STATES:
            return Outcome.DUPLICATE
        message = Message.objects.get(pk=delivery.message_id)
        DeadLetter.objects.create(
            delivery=delivery,
            workflow=workflow,
            agent=delivery.agent,
            message_type=message.type,
            reason=reason,
            error=error[:200],
            detail=detail,
            body=message.envelope,
        )
        now = timezone.now()
        Delivery.objects.filter(pk=delivery_id).update(
            state=DeliveryState.DEAD, settled_at=now, lease_token=None, last_error=detail
        )
        if workflow.failure_policy == FailurePolicy.SKIP:
            skip(delivery)
        elif workflow.status in (WorkflowStatus.RUNNING, WorkflowStatus.PAUSED):
            _park(workflow, f"{delivery.agent} could not handle message #{message.sequence} ({message.type}): {error}")
    return Outcome.DEAD


def _park(workflow: Workflow, reason: str) -> None:
    workflow.status, workflow.status_reason = WorkflowStatus.PARKED, reason
    workflow.save(update_fields=["status", "status_reason"])


def skip(delivery: Delivery) -> None:
    """Go on behind a dead delivery. The caller holds the workflow's lock."""
    mailbox = Mailbox.objects.get(pk=delivery.mailbox_id)
    if turn_of(delivery.position, mailbox.processed) is not Turn.NEXT:
        return
    processed = delivery.position
    dead = set(
        Delivery.objects.filter(mailbox=mailbox, position__gt=processed, state=DeliveryState.DEAD).values_list(
            "position", flat=True
        )
    )
    while processed + 1 in dead:
        processed += 1
    Mailbox.objects.filter(pk=mailbox.pk).update(processed=processed)
    Delivery.objects.filter(mailbox=mailbox, position=processed + 1, state=DeliveryState.HELD).update(
        state=DeliveryState.PENDING, available_at=timezone.now()
    )


def postpone(delivery_ids: list[UUID], seconds: float) -> None:
    """Give deliveries back to the relay, due in a while, without charging an attempt."""
    Delivery.objects.filter(pk__in=delivery_ids, state__in=POLLED_STATES).exclude(state=DeliveryState.LEASED).update(
        state=DeliveryState.PENDING, available_at=timezone.now() + timedelta(seconds=seconds)
    )
