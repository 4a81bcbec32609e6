"""QUARANTINED: the delivery waits in its position for a person or a judge, and what is behind it waits too."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from messaging.models import WAITING_STATES, Delivery, DeliveryState, Verdict
from messaging.outcomes.decision import Decision

_TAKEN = (DeliveryState.PENDING, DeliveryState.SENT, DeliveryState.HELD)


def apply(group: Sequence[Decision], now: datetime) -> list[Decision]:
    return [decision for decision in group if not _apply(decision, now)]


def _apply(decision: Decision, now: datetime) -> bool:
    # Locked first: whoever resolves the verdict locks it too, so that nobody waits for a person who has spoken.
    delivery = Delivery.objects.select_for_update(no_key=True).filter(pk=decision.delivery_id, state__in=_TAKEN).first()
    if delivery is None:
        return False
    waiting = Verdict.objects.filter(delivery=delivery, state__in=WAITING_STATES).exists()
    delivery.state = DeliveryState.QUARANTINED if waiting else DeliveryState.PENDING
    delivery.available_at = now
    if decision.failure is not None:
        delivery.last_error = decision.failure.detail
    delivery.save(update_fields=["state", "available_at", "last_error"])
    return True
