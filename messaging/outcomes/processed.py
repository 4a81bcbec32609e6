"""PROCESSED: the delivery is settled, in the transaction that holds its handler's effects."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from messaging import log
from messaging.outcomes.decision import Decision


def apply(group: Sequence[Decision], now: datetime, writes: log.BatchWrites, *, last: bool) -> None:
    log.close_batch([decision.delivery_id for decision in group], writes, now, last=last)
