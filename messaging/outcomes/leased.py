"""LEASED: a slow handler takes the delivery under a fencing token; the attempt is counted before it is made."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import F

from messaging.conf import get_settings
from messaging.models import Delivery, DeliveryState
from messaging.outcomes.decision import Decision


def apply(group: Sequence[Decision], now: datetime) -> list[Decision]:
    by_token: dict[UUID | None, list[UUID]] = {}
    for decision in group:
        by_token.setdefault(decision.lease, []).append(decision.delivery_id)
    for token, ids in by_token.items():
        Delivery.objects.filter(pk__in=ids).update(
            state=DeliveryState.LEASED,
            lease_token=token,
            attempts=F("attempts") + 1,
            available_at=now + timedelta(seconds=get_settings().lease_seconds),
        )
    return []
