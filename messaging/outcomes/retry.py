"""RETRY: the delivery is due again later. Retries are rows, not broker features: they survive everything."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from messaging.models import POLLED_STATES, Delivery, DeliveryState
from messaging.outcomes.decision import Decision


def apply(group: Sequence[Decision], now: datetime) -> list[Decision]:
    return [decision for decision in group if not _apply(decision, now)]


def _apply(decision: Decision, now: datetime) -> bool:
    values: dict[str, Any] = {
        "state": DeliveryState.PENDING,
        "available_at": decision.available_at or now,
    }
    values["lease_token"] = None  # by itself: bandit takes it for a password above
    if decision.attempts is not None:
        values["attempts"] = decision.attempts
    if decision.lock_losses is not None:
        values["lock_losses"] = decision.lock_losses
    if decision.queue is not None:
        values["queue"] = decision.queue
    if decision.failure is not None:
        values["last_error"] = decision.failure.detail
    waiting = Delivery.objects.filter(pk=decision.delivery_id, state__in=POLLED_STATES)
    if decision.lease is None:
        waiting = waiting.exclude(state=DeliveryState.LEASED)
    else:
        waiting = waiting.filter(state=DeliveryState.LEASED, lease_token=decision.lease)
    return bool(waiting.update(**values))
