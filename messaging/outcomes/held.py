"""HELD: the delivery waits in the log, for its predecessor or until its workflow or agent goes on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from messaging import log
from messaging.conf import get_settings
from messaging.models import DeliveryState
from messaging.outcomes.decision import Decision


def apply(group: Sequence[Decision], now: datetime) -> list[Decision]:
    look_again = now + timedelta(seconds=get_settings().gap_timeout)
    log.reschedule([decision.delivery_id for decision in group], DeliveryState.HELD, look_again)
    return []
