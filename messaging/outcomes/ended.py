"""CANCELLED and EXPIRED: the delivery is settled without having been handled."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from messaging import log
from messaging.core.outcome import Outcome
from messaging.models import DeliveryState
from messaging.outcomes.decision import Decision


def apply(outcome: Outcome, group: Sequence[Decision], now: datetime) -> list[Decision]:
    state = DeliveryState.CANCELLED if outcome is Outcome.CANCELLED else DeliveryState.EXPIRED
    log.settle([decision.delivery_id for decision in group], state, now)
    return []
