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
    claims: dict[tuple[UUID | None, datetime], list[UUID]] = {}
    usual = now + timedelta(seconds=get_settings().lease_seconds)
    for decision in group:
        claims.setdefault((decision.lease, decision.available_at or usual), []).append(decision.delivery_id)
    for (token, until), ids in claims.items():
        Delivery.objects.filter(pk__in=ids).update(
            state=DeliveryState.LEASED,
            lease_token=token,
            attempts=F("attempts") + 1,
            available_at=until,
        )
    return []
