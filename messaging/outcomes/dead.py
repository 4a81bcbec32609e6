"""DEAD: a dead letter that operators see; the workflow parks, or goes on without the message, as its policy says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from messaging.core.describing import place_in
from messaging.core.ordering import Place, turn_of
from messaging.models import (
    POLLED_STATES,
    DeadLetter,
    DeadReason,
    Delivery,
    DeliveryState,
    FailurePolicy,
    Mailbox,
    Message,
    WorkflowStatus,
)
from messaging.outcomes.decision import Decision, Failure
from messaging.workflows import life_cycle as workflows
from messaging.workflows.telling import DeadLetterNotice, tell_dead

UNEXPLAINED = Failure(DeadReason.HANDLER_ERROR, "", "")


def apply(group: Sequence[Decision], now: datetime) -> list[Decision]:
    return [decision for decision in group if not _apply(decision, now)]


def _apply(decision: Decision, now: datetime) -> bool:
    found = Delivery.objects.filter(pk=decision.delivery_id).values_list("workflow_id", flat=True).first()
    if found is None:
        return False
    failure = decision.failure or UNEXPLAINED
    workflow = workflows.lock(found)
    waiting = Delivery.objects.select_for_update(no_key=True).filter(pk=decision.delivery_id, state__in=POLLED_STATES)
    if decision.lease is not None:
        waiting = waiting.filter(lease_token=decision.lease)
    delivery = waiting.first()
    if delivery is None:
        return False
    message = Message.objects.get(pk=delivery.message_id)
    letter = DeadLetter.objects.create(
        delivery=delivery,
        workflow=workflow,
        agent=delivery.agent,
        message_type=message.type,
        reason=failure.reason,
        error=failure.error,
        place=place_in(failure.detail),
        detail=failure.detail,
        body=message.envelope,
    )
    Delivery.objects.filter(pk=delivery.pk).update(
        state=DeliveryState.DEAD,
        attempts=delivery.attempts if decision.attempts is None else decision.attempts,
        settled_at=now,
        lease_token=None,
        last_error=failure.detail,
    )
    tell_dead(
        DeadLetterNotice(
            dead_letter=letter.pk,
            workflow_id=workflow.pk,
            message_id=message.pk,
            delivery_id=delivery.pk,
            agent=delivery.agent,
            message_type=message.type,
            attempts=delivery.attempts if decision.attempts is None else decision.attempts,
            reason=str(failure.reason),
            error=failure.error,
            detail=failure.detail,
        )
    )
    if workflow.failure_policy == FailurePolicy.SKIP:
        skip(delivery, now)
    elif workflow.status in (WorkflowStatus.RUNNING, WorkflowStatus.PAUSED):
        workflows.park(
            workflow.pk,
            f"{delivery.agent} could not handle message #{message.sequence} ({message.type}): "
            f"{failure.error or failure.reason}",
        )
    return True


def skip(delivery: Delivery, now: datetime) -> None:
    """Go on behind a dead delivery. The caller holds the workflow's lock."""
    mailbox = Mailbox.objects.get(pk=delivery.mailbox_id)
    if turn_of(delivery.position, mailbox.processed) is not Place.NEXT:
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
        state=DeliveryState.PENDING, available_at=now
    )
