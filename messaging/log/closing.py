"""Closing the transaction of a batch: on PostgreSQL its counters and what is settled in one statement."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from messaging.log import rows
from messaging.log.deliveries import settling_update
from messaging.log.mailboxes import mailboxes_update
from messaging.log.workflows import sequences_update
from messaging.models.delivery import DeliveryState


@dataclass(frozen=True, slots=True)
class BatchCounters:
    """Counters that moved in a batch.

    Args:
        mailboxes: mailbox id → its new ``processed``.
        sequences: workflow → its new ``sequence``.
    """

    mailboxes: Mapping[int, int] = field(default_factory=dict)
    sequences: Mapping[UUID, int] = field(default_factory=dict)


def close_batch(processed: Collection[UUID], counters: BatchCounters, now: datetime) -> None:
    """Settle deliveries as PROCESSED and write counters, with the workflows locked.

    Args:
        processed: ids of the deliveries.
        counters: of their workflows.
        now: the current time.
    """
    updates = [sequences_update(counters.sequences.items())] if counters.sequences else []
    updates += [mailboxes_update(counters.mailboxes)] if counters.mailboxes else []
    updates += [settling_update(processed, DeliveryState.PROCESSED, now)] if processed else []
    if not updates:
        return
    if not rows.on_postgres():
        for update in updates:
            rows.execute(update.sql, update.parameters)
        return
    *first, last = updates
    beside = ", ".join(f"u{number} AS ({update.sql})" for number, update in enumerate(first))
    rows.execute(
        f"WITH {beside} {last.sql}" if first else last.sql,
        [value for update in updates for value in update.parameters],
        # Single rows are found by their keys whatever the tables' sizes.
        prepare=max(len(processed), len(counters.mailboxes), len(counters.sequences)) == 1,
    )
