"""Closing the transaction of a batch: on PostgreSQL its counters and what is settled in one statement."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from messaging.core.errors import NexusError
from messaging.log import rows
from messaging.log.deliveries import settling_update
from messaging.log.mailboxes import mailboxes_update
from messaging.log.processed_ids import mark_processed_ids, processed_ids_insert
from messaging.log.workflows import sequences_update
from messaging.models.delivery import DeliveryState


@dataclass(frozen=True, slots=True)
class BatchCounters:
    """What a batch leaves beside its messages: counters that moved, and what it handled.

    Args:
        mailboxes: mailbox id → its new ``processed``.
        sequences: workflow → its new ``sequence``.
        handled: (message, consumer) of what was handled, for processed-ID rows.
        expires_at: until when these are kept.
    """

    mailboxes: Mapping[int, int] = field(default_factory=dict)
    sequences: Mapping[UUID, int] = field(default_factory=dict)
    handled: Collection[tuple[UUID, str]] = ()
    expires_at: datetime | None = None


class HandledMeanwhile(NexusError):
    """A processed-ID row came from elsewhere after the delivery was read, although its workflow is locked."""


def close_batch(processed: Collection[UUID], counters: BatchCounters, now: datetime) -> None:
    """Settle deliveries as PROCESSED, write counters and processed-IDs, with the workflows locked.

    Args:
        processed: ids of the deliveries.
        counters: of their workflows.
        now: the current time.

    Raises:
        HandledMeanwhile: roll back, and read the deliveries again.
    """
    updates = [sequences_update(counters.sequences.items())] if counters.sequences else []
    updates += [mailboxes_update(counters.mailboxes)] if counters.mailboxes else []
    updates += [settling_update(processed, DeliveryState.PROCESSED, now)] if processed else []
    if not rows.on_postgres():
        new = len(mark_processed_ids(counters.handled, counters.expires_at)) if counters.expires_at else 0
        for update in updates:
            rows.execute(update.sql, update.parameters)
    elif counters.expires_at is None:
        new = 0
        if updates:
            _run(updates, rows.Fragment("SELECT 0"), counters, processed)
    else:
        inserted = processed_ids_insert(counters.handled, counters.expires_at)
        counted = rows.Fragment("SELECT count(*) FROM u0")
        new = _run([inserted, *updates], counted, counters, processed)[0][0]
    if new != len(counters.handled):
        raise HandledMeanwhile(
            f"{len(counters.handled) - new} of {len(counters.handled)} messages of a batch got their processed-ID rows "
            "from another process while their workflows were locked. The batch is rolled back and handled again."
        )


def _run(
    first: Sequence[rows.Fragment], last: rows.Fragment, counters: BatchCounters, processed: Collection[UUID]
) -> list[tuple[Any, ...]]:
    """Run them as one statement; return what the last one answers."""
    beside = ", ".join(f"u{number} AS ({update.sql})" for number, update in enumerate(first))
    return rows.fetch(
        f"WITH {beside} {last.sql}",
        [value for update in (*first, last) for value in update.parameters],
        # Single rows are found by their keys whatever the tables' sizes.
        prepare=max(map(len, (processed, counters.mailboxes, counters.sequences, counters.handled))) == 1,
    )
