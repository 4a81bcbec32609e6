"""The quarantine: deliveries that wait, each in its position, until a person releases or rejects them."""

from __future__ import annotations

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from messaging.core.describing import safe_repr, storable
from messaging.core.errors import QuarantineError
from messaging.core.outcome import Outcome
from messaging.models import (
    FINAL_STATES,
    POLLED_STATES,
    WAITING_STATES,
    DeadReason,
    Delivery,
    DeliveryState,
    Verdict,
    VerdictState,
)
from messaging.outcomes import Decision, Failure, apply
from messaging.recovery.questions import make_due
from messaging.security.verification.verdicts import VerdictAction
from messaging.workflows import life_cycle as workflows

_STOPPING = (VerdictAction.QUARANTINE.value, VerdictAction.REJECT.value)


def waiting() -> QuerySet[Verdict]:
    """What waits for a person, the longest first."""
    found = Verdict.objects.filter(state=VerdictState.WAITING).exclude(delivery__state__in=FINAL_STATES)
    return found.order_by("created_at", "pk").select_related("delivery")


def release(verdict_id: int, *, user: str = "", note: str = "") -> str:
    """Let a delivery be handled in its position, whatever the rules say of it now or later.

    Args:
        verdict_id: of a verdict that quarantined or rejected it.
        user: who decides.
        note: why.

    Returns:
        What is still to be done; empty where it goes on by itself.

    Raises:
        QuarantineError: there is no such verdict, it stopped nothing, or its delivery is settled.
    """
    with transaction.atomic():
        verdict, delivery = _lock(verdict_id)
        if verdict.state == VerdictState.RELEASED:
            raise QuarantineError(f"Verdict {verdict.pk} is released already, by {verdict.resolved_by or 'somebody'}.")
        _resolve(verdict, VerdictState.RELEASED, user, note)
        if delivery.state == DeliveryState.QUARANTINED:
            make_due(delivery)
        return "Replay its dead letter, and it is handled." if delivery.state == DeliveryState.DEAD else ""


def reject(verdict_id: int, *, user: str = "", note: str = "") -> None:
    """Make a delivery that waits a dead letter; its workflow parks, or goes on without it, as its policy says.

    One whose turn has not come becomes one when it comes.

    Args:
        verdict_id: of the verdict that it waits by.
        user: who decides.
        note: why.

    Raises:
        QuarantineError: there is no such verdict, or nothing waits by it.
    """
    with transaction.atomic():
        verdict, delivery = _lock(verdict_id)
        if verdict.state not in WAITING_STATES:
            raise QuarantineError(f"Verdict {verdict.pk} is {verdict.get_state_display()}: nothing waits by it.")
        _resolve(verdict, VerdictState.REJECTED, user, note)
        if delivery.state == DeliveryState.QUARANTINED:
            make_due(delivery)  # a dead letter is made of what is to be handled
            detail = f"{verdict.resolved_by or 'Somebody'} rejected it: {verdict.note or 'no reason was given'}"
            failure = Failure(DeadReason.VERIFICATION, "Rejected", detail)
            apply([Decision(Outcome.DEAD, delivery.pk, delivery.agent, failure)], timezone.now())


def _lock(verdict_id: object) -> tuple[Verdict, Delivery]:
    """Workflow, delivery, verdict: in the order of whoever settles deliveries."""
    if isinstance(verdict_id, bool) or not isinstance(verdict_id, int) or not 0 < verdict_id < 2**63:
        raise QuarantineError(f"There is no verdict {safe_repr(verdict_id)[:60]}: a whole number is expected.")
    found = Verdict.objects.filter(pk=verdict_id).select_related("delivery").first()
    if found is None:
        raise QuarantineError(f"There is no verdict {verdict_id}; manage.py nexus_rules quarantine list shows them.")
    place = Delivery.objects.filter(pk=found.delivery_id).values_list("workflow_id", flat=True).first()
    if place is None:
        raise QuarantineError(f"The log has no delivery {found.delivery_id} any more: there is nothing to decide.")
    workflows.lock(place)
    delivery = Delivery.objects.select_for_update(no_key=True).get(pk=found.delivery_id)
    verdict = Verdict.objects.select_for_update(no_key=True).get(pk=verdict_id)
    if verdict.action not in _STOPPING and verdict.state != VerdictState.ASKED:
        raise QuarantineError(f"Verdict {verdict_id} is {verdict.action}: it stopped nothing.")
    if delivery.state not in (*POLLED_STATES, DeliveryState.QUARANTINED, DeliveryState.DEAD):
        raise QuarantineError(f"Delivery {delivery.pk} is {delivery.state}: there is nothing to decide any more.")
    return verdict, delivery


def _resolve(verdict: Verdict, state: VerdictState, user: str, note: str) -> None:
    verdict.state, verdict.resolved_at = state, timezone.now()
    verdict.resolved_by, verdict.note = storable(user)[:150], storable(note)
    verdict.save(update_fields=["state", "resolved_at", "resolved_by", "note"])
