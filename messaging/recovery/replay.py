"""Putting dead letters back, or discarding them."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.utils import timezone

from messaging.core.errors import ReplayError
from messaging.models import DeadLetter, DeadLetterStatus, DeliveryState, ProcessedMessage
from messaging.outcomes.dead import skip
from messaging.recovery.discarding import tell_discarded
from messaging.recovery.open_letters import (
    checked_letter_id,
    lock_open,
    refuse_rejected,
    resolve_letter,
    resume_if_last,
)


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
        letter, delivery, workflow = lock_open(dead_letter_id)
        if not workflow.is_open:
            raise ReplayError(f"Workflow {workflow.pk} is {workflow.status}; its messages cannot be replayed.")
        refuse_rejected(delivery)
        # Otherwise the processed-ID row of an earlier success would swallow the replay.
        ProcessedMessage.objects.filter(message_id=delivery.message_id, consumer=delivery.agent).delete()
        delivery.state, delivery.attempts, delivery.redeliveries = DeliveryState.PENDING, 0, 0
        delivery.lock_losses = 0
        delivery.available_at, delivery.settled_at = timezone.now(), None
        delivery.save(update_fields=["state", "attempts", "redeliveries", "lock_losses", "available_at", "settled_at"])
        resolve_letter(letter, DeadLetterStatus.REPLAYED, user)
        resume_if_last(workflow)
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
    without = DeadLetter.objects.filter(pk=checked_letter_id(dead_letter_id), delivery__isnull=True)
    with transaction.atomic():
        letter = without.filter(status=DeadLetterStatus.OPEN).select_for_update(no_key=True).first()
        if letter is not None:
            resolve_letter(letter, DeadLetterStatus.DISCARDED, user, reason=reason)
            return
        letter, delivery, workflow = lock_open(dead_letter_id)
        skip(delivery, timezone.now())
        resolve_letter(letter, DeadLetterStatus.DISCARDED, user, reason=reason)
        if workflow.is_open:
            tell_discarded(delivery.agent, workflow.pk, letter.message_type)
            workflow.refresh_from_db(fields=["status"])
        resume_if_last(workflow)
