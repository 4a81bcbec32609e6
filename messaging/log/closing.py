"""Closing the transaction of a batch: on PostgreSQL all that it leaves in one round trip."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db import IntegrityError

from messaging.core.errors import NexusError
from messaging.log import rows
from messaging.log.committing import may_commit, run_and_commit
from messaging.log.deliveries import NewDelivery, settling_update
from messaging.log.mailboxes import mailbox_updates
from messaging.log.messages import NewMessage, insert_messages, messages_inserts
from messaging.log.processed_ids import is_there_already, processed_ids_insert
from messaging.log.workflows import sequences_update
from messaging.models.delivery import DeliveryState


@dataclass(frozen=True, slots=True)
class BatchWrites:
    """What a batch leaves: what its handlers sent, counters that moved, and what it handled.

    Args:
        messages, deliveries: to be inserted; what was handled already, as PROCESSED.
        sent: mailbox id → how many more were sent, where that was not counted yet.
        mailboxes: mailbox id → its new ``processed``.
        sequences: workflow → its new ``sequence``.
        handled: (message, consumer) of what was handled, for processed-ID rows.
        expires_at: until when these are kept.
    """

    messages: Sequence[NewMessage] = ()
    deliveries: Sequence[NewDelivery] = ()
    sent: Mapping[int, int] = field(default_factory=dict)
    mailboxes: Mapping[int, int] = field(default_factory=dict)
    sequences: Mapping[UUID, int] = field(default_factory=dict)
    handled: Collection[tuple[UUID, str]] = ()
    expires_at: datetime | None = None


class HandledMeanwhile(NexusError):
    """A processed-ID row came from elsewhere after the delivery was read, although its workflow is locked."""


def close_batch(processed: Collection[UUID], writes: BatchWrites, now: datetime, *, last: bool = False) -> None:
    """Store messages, settle deliveries as PROCESSED, write counters and processed-IDs, with the workflows locked.

    Args:
        processed: ids of the deliveries, those that are yet to be inserted too.
        writes: what the batch leaves.
        now: the current time.
        last: nothing else is written in this transaction: it is committed in the same round trip, if it may be.

    Raises:
        HandledMeanwhile: roll back, and read the deliveries again.
    """
    if writes.deliveries and len(processed) > 1:
        new = {delivery.id for delivery in writes.deliveries}
        processed = [identifier for identifier in processed if identifier not in new]
    try:
        if not rows.on_postgres():
            insert_messages(writes.messages, writes.deliveries)
            for update in _updates(processed, writes, now):
                rows.execute(update.sql, update.parameters)
            return
        inserts = messages_inserts(writes.messages, writes.deliveries)
        updates = _updates(processed, writes, now)
        if not _finds_by_keys(processed, writes):
            # A plan for lists may be wrong, one for what is inserted may not.
            if inserts:
                _run(inserts, prepare=True)
            _run(updates, prepare=False)
        elif last and (inserts or updates) and len(writes.deliveries) <= 1 and may_commit():
            run_and_commit(rows.joined([*inserts, *updates]))
        elif inserts or updates:
            _run([*inserts, *updates], prepare=True)
    except IntegrityError as error:
        if is_there_already(error):
            raise HandledMeanwhile(
                f"Some of the {len(writes.handled)} messages of a batch got their processed-ID rows from another "
                "process while their workflows were locked. The batch is rolled back and handled again."
            ) from error
        raise


def _run(together: Sequence[rows.Fragment], *, prepare: bool) -> None:
    statement = rows.joined(together)
    rows.execute(statement.sql, statement.parameters, prepare=prepare)


def _updates(processed: Collection[UUID], writes: BatchWrites, now: datetime) -> list[rows.Fragment]:
    updates: list[rows.Fragment] = []
    if writes.handled and writes.expires_at is not None:
        updates.append(processed_ids_insert(writes.handled, writes.expires_at))
    if writes.sequences:
        updates.append(sequences_update(writes.sequences.items()))
    updates += mailbox_updates(writes.mailboxes, writes.sent)
    if processed:
        updates.append(settling_update(processed, DeliveryState.PROCESSED, now))
    return updates


def _finds_by_keys(processed: Collection[UUID], writes: BatchWrites) -> bool:
    """Whether single rows are changed, which are found by their keys whatever the tables' sizes."""
    return max(map(len, (processed, writes.mailboxes, writes.sequences, writes.handled))) <= 1
