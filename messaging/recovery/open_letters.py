"""What replaying, replacing and discarding a dead letter begin and end with."""

from __future__ import annotations

from uuid import UUID

from django.utils import timezone

from messaging.core.describing import safe_repr, storable
from messaging.core.errors import ReplayError
from messaging.models import (
    DeadLetter,
    DeadLetterStatus,
    Delivery,
    DeliveryState,
    VerdictState,
    Workflow,
    WorkflowStatus,
)
from messaging.workflows import life_cycle as workflows


def checked_letter_id(dead_letter_id: object) -> int:
    """The id, where it can be one.

    Raises:
        ReplayError: it cannot.
    """
    if isinstance(dead_letter_id, bool) or not isinstance(dead_letter_id, int) or not 0 < dead_letter_id < 2**63:
        raise ReplayError(f"There is no dead letter {safe_repr(dead_letter_id)[:60]}: a whole number is expected.")
    return dead_letter_id


def lock_open(dead_letter_id: int) -> tuple[DeadLetter, Delivery, Workflow]:
    """Lock an open dead letter, its delivery and its workflow in the transaction that is open.

    Raises:
        ReplayError: it is not open, or belongs to no delivery.
    """
    letter = DeadLetter.objects.filter(pk=checked_letter_id(dead_letter_id)).first()
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


def refuse_rejected(delivery: Delivery) -> None:
    """What a person rejected is not put back by way of its dead letter.

    Raises:
        ReplayError: a person did.
    """
    last = delivery.verdicts.filter(resolved_at__isnull=False).order_by("resolved_at", "pk").last()
    if last is not None and last.state == VerdictState.REJECTED:
        raise ReplayError(
            f"{last.resolved_by or 'Somebody'} rejected delivery {delivery.pk}. Release its verdict first (admin, "
            f"Verdicts; manage.py nexus_rules quarantine release {last.pk})."
        )


def resolve_letter(
    letter: DeadLetter, status: DeadLetterStatus, user: str, *, reason: str = "", replaced_by: UUID | None = None
) -> None:
    """Note what was decided about it, and who did."""
    letter.status, letter.resolved_at, letter.resolved_by = status, timezone.now(), storable(user)[:150]
    letter.replaced_by, letter.resolution = replaced_by, storable(reason)
    letter.save(update_fields=["status", "resolved_at", "resolved_by", "replaced_by", "resolution"])


def resume_if_last(workflow: Workflow) -> None:
    """A parked workflow goes on once none of its dead letters is open."""
    if (
        workflow.status == WorkflowStatus.PARKED
        and not workflow.dead_letters.filter(status=DeadLetterStatus.OPEN).exists()
    ):
        workflows.go_on(workflow.pk)
