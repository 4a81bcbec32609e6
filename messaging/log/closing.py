"""Closing the transaction of a batch: on PostgreSQL all that it leaves in one round trip."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db import IntegrityError

from messaging.core.errors import NexusError
from messaging.log import rows
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
        messages, deliveries: to be inserted.
        sent: mailbox id → how many more were sent, where that was not counted yet; one or two.
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


def close_batch(processed: Collection[UUID], writes: BatchWrites, now: datetime) -> None:
    """Store messages, settle deliveries as PROCESSED, write counters and processed-IDs, with the workflows locked.

    Args:
        processed: ids of the deliveries.
        writes: what the batch leaves.
        now: the current time.

    Raises:
        HandledMeanwhile: roll back, and read the deliveries again.
    """
    inserts = messages_inserts(writes.messages, writes.deliveries) if rows.on_postgres() else []
    closing: list[rows.Fragment] = []
    if writes.handled and writes.expires_at is not None:
        closing.append(processed_ids_insert(writes.handled, writes.expires_at))
    if writes.sequences:
        closing.append(sequences_update(writes.sequences.items()))
    closing += mailbox_updates(writes.mailboxes, writes.sent)
    if processed:
        closing.append(settling_update(processed, DeliveryState.PROCESSED, now))
    try:
        if not rows.on_postgres():
            insert_messages(writes.messages, writes.deliveries)
            for update in closing:
                rows.execute(update.sql, update.parameters)
            return
        for statement in _statements(inserts, closing, single=_is_single(processed, writes)):
            rows.execute(statement.sql, statement.parameters, prepare=statement.prepare)
    except IntegrityError as error:
        if is_there_already(error):
            raise HandledMeanwhile(
                f"Some of the {len(writes.handled)} messages of a batch got their processed-ID rows from another process "
                "while their workflows were locked. The batch is rolled back and handled again."
            ) from error
        raise


def _is_single(processed: Collection[UUID], writes: BatchWrites) -> bool:
    return max(map(len, (processed, writes.mailboxes, writes.sequences, writes.handled))) <= 1


def _statements(
    inserts: Sequence[rows.Fragment], closing: Sequence[rows.Fragment], *, single: bool
) -> list[rows.Statement]:
    """As few statements as have one plan whatever the tables' sizes: rows that are inserted, and single ones that are
    found by their keys.
    """
    if single:
        groups = [([*inserts, *closing], True)]
    else:
        groups = [([*inserts], True), ([*closing], False)]
    return [
        rows.Statement(one.sql, one.parameters, prepare)
        for group, prepare in groups
        if group
        for one in [rows.joined(group)]
    ]
