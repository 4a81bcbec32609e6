"""Putting dead letters back, or discarding them."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.utils import timezone

from messaging.core.describing import safe_repr, storable
from messaging.core.errors import ReplayError
from messaging.models import (
    DeadLetter,
    DeadLetterStatus,
    Delivery,
    DeliveryState,
    ProcessedMessage,
    VerdictState,
    Workflow,
    WorkflowStatus,
)
from messaging.outcomes.dead import skip
from messaging.recovery.discarding import tell_discarded
from messaging.workflows import life_cycle as workflows


def _lock_open(dead_letter_id: int) -> tuple[DeadLetter, Delivery, Workflow]:
    letter = DeadLetter.objects.filter(pk=_checked(dead_letter_id)).first()
    if letter is None:
        raise ReplayError(f"There is no dead letter {dead_letter_id}.")
    if letter.delivery_id is None or letter.workflow_id is None:
        raise ReplayError(
            f"Dead letter {dead_letter_id} belongs to no delivery ({letter.get_reason_display()}): there is nothing to "
            "put back. Have its sender send it again, correctly."
        )
    delivery_id = letter.delivery_id
    workflow = workflows.lock(letter.workflow_id)
    letter = DeadLetter.objects.select_for_update(no_key=True).get(pk=dead_letter_id)
    if letter.status != DeadLetterStatus.OPEN:
        raise ReplayError(f"Dead letter {dead_letter_id} is {letter.status} already.")
    delivery = Delivery.objects.select_for_update(no_key=True).get(pk=delivery_id)
    if delivery.state != DeliveryState.DEAD:
        raise ReplayError(f"Delivery {delivery.pk} of dead letter {dead_letter_id} is {delivery.state}, not dead.")
    return letter, delivery, workflow


def _checked(dead_letter_id: object) -> int:
    if isinstance(dead_letter_id, bool) or not isinstance(dead_letter_id, int) or not 0 < dead_letter_id < 2**63:
        raise ReplayError(f"There is no dead letter {safe_repr(dead_letter_id)[:60]}: a whole number is expected.")
    return dead_letter_id


def _resolve(letter: DeadLetter, status: DeadLetterStatus, user: str, reason: str = "") -> None:
    letter.status, letter.resolved_at, letter.resolved_by = status, timezone.now(), storable(user)[:150]
    letter.resolution = storable(reason)
    letter.save(update_fields=["status", "resolved_at", "resolved_by", "resolution"])


def _refuse_rejected(delivery: Delivery) -> None:
    """What a person rejected is not put back by way of its dead letter."""
    last = delivery.verdicts.filter(resolved_at__isnull=False).order_by("resolved_at", "pk").last()
    if last is not None and last.state == VerdictState.REJECTED:
        raise ReplayError(
            f"{last.resolved_by or 'Somebody'} rejected delivery {delivery.pk}. Release its verdict first (admin, "
            f"Verdicts; manage.py nexus_rules quarantine release {last.pk})."
        )


def _resume_if_last(workflow: Workflow) -> None:
    """A parked workflow goes on once none of its dead letters is open."""
    if (
        workflow.status == WorkflowStatus.PARKED
        and not workflow.dead_letters.filter(status=DeadLetterStatus.OPEN).exists()
    ):
        workflows.go_on(workflow.pk)


def replay(dead_letter_id: int, *, user: str = "") -> UUID:
    """Put the delivery of a dead letter back, with its attempts at zero, and let its workflow go on.

    Args:
        dead_letter_id: of an open dead letter.
        user: who asked for it.

    Returns:
        The delivery's id.

    Raises:
        ReplayError: it is not open, belongs to no delivery, or its workflow has ended. Nothing is changed.
    """
    with transaction.atomic():
        letter, delivery, workflow = _lock_open(dead_letter_id)
        if not workflow.is_open:
            raise ReplayError(f"Workflow {workflow.pk} is {workflow.status}; its messages cannot be replayed.")
        _refuse_rejected(delivery)
        # Otherwise the processed-ID row of an earlier success would swallow the replay.
        ProcessedMessage.objects.filter(message_id=delivery.message_id, consumer=delivery.agent).delete()
        delivery.state, delivery.attempts, delivery.redeliveries = DeliveryState.PENDING, 0, 0
        delivery.lock_losses = 0
        delivery.available_at, delivery.settled_at = timezone.now(), None
        delivery.save(update_fields=["state", "attempts", "redeliveries", "lock_losses", "available_at", "settled_at"])
        _resolve(letter, DeadLetterStatus.REPLAYED, user)
        _resume_if_last(workflow)
    return delivery.pk


def discard(dead_letter_id: int, *, user: str = "", reason: str = "") -> None:
    """Give a dead letter up: its workflow goes on without that message.

    Args:
        dead_letter_id: of an open dead letter.
        user: who gave it up.
        reason: why, for other operators.

    Raises:
        ReplayError: it is not open.
    """
    without = DeadLetter.objects.filter(pk=_checked(dead_letter_id), delivery__isnull=True)
    letter = without.filter(status=DeadLetterStatus.OPEN).first()
    with transaction.atomic():
        if letter is not None:
            _resolve(letter, DeadLetterStatus.DISCARDED, user, reason)
            return
        letter, delivery, workflow = _lock_open(dead_letter_id)
        skip(delivery, timezone.now())
        _resolve(letter, DeadLetterStatus.DISCARDED, user, reason)
        if workflow.is_open:
            tell_discarded(delivery.agent, workflow.pk, letter.message_type)
            workflow.refresh_from_db(fields=["status"])
        _resume_if_last(workflow)
