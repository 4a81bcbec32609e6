"""Statements on deliveries."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from messaging.core.ids import MAX_DELIVERIES, delivery_id, message_id_of
from messaging.core.registry import HandlerKind
from messaging.log import rows
from messaging.log.mailboxes import MailboxRow
from messaging.models.delivery import DeliveryState

EXTERNAL = HandlerKind.EXTERNAL.value


@dataclass(slots=True)
class DeliveryRow:
    """A delivery with its mailbox's counter."""

    id: UUID
    workflow_id: UUID
    mailbox_id: int
    agent: str
    position: int
    state: str
    attempts: int
    lock_losses: int
    lease_token: UUID | None
    sent: int
    processed: int
    source: str
    """The sender, as the message's row has it."""
    labels: str | None = None
    handled: bool = False
    """Whether its processed-ID row is there."""
    sender_mailbox: MailboxRow | None = None
    """Of its sender in the same workflow, where it was asked for and there is one."""


class NewDelivery(NamedTuple):
    """A delivery to be inserted. Its fields are the columns, in the order of ``DELIVERY_COLUMNS``."""

    id: UUID
    message_id: UUID
    workflow_id: UUID
    mailbox_id: int
    agent: str
    position: int
    queue: str
    state: str
    attempts: int
    redeliveries: int
    available_at: datetime
    settled_at: datetime | None
    last_error: str


DELIVERY_COLUMNS: rows.Columns = (
    ("id", "uuid"),
    ("message_id", "uuid"),
    ("workflow_id", "uuid"),
    ("mailbox_id", "bigint"),
    ("agent", "text"),
    ("position", "bigint"),
    ("queue", "text"),
    ("state", "text"),
    ("attempts", "smallint"),
    ("redeliveries", "smallint"),
    ("available_at", "timestamptz"),
    ("settled_at", "timestamptz"),
    ("last_error", "text"),
)


def load_deliveries(ids: Collection[UUID]) -> dict[UUID, DeliveryRow]:
    """Read deliveries with their mailboxes' counters and their senders."""
    wanted = rows.among(ids)
    return loaded_deliveries(rows.fetch(load_statement(wanted.sql), wanted.parameters))


def load_statement(among: str, *, with_sender_mailbox: bool = False) -> str:
    """What reads the deliveries whose id fulfils a condition; if wanted, the mailboxes of their senders, too."""
    columns, join = "", ""
    if with_sender_mailbox:
        columns = ", r.id, r.sent, r.processed, r.labels"
        join = " LEFT JOIN nexus_mailbox r ON r.workflow_id = d.workflow_id AND r.agent = g.source"
    return (
        "SELECT d.id, d.workflow_id, d.mailbox_id, d.agent, d.position, d.state, d.attempts, d.lock_losses,"
        " d.lease_token, m.sent, m.processed, g.source, m.labels,"
        # A scalar: no plan may read the table from end to end for it.
        " (SELECT 1 FROM nexus_processed_message p WHERE p.message_id = d.message_id AND p.consumer = d.agent LIMIT 1)"
        f"{columns} FROM nexus_delivery d JOIN nexus_mailbox m ON m.id = d.mailbox_id"
        f" JOIN nexus_message g ON g.id = d.message_id{join} WHERE d.id {among}"
    )


def loaded_deliveries(found: Iterable[rows.Row]) -> dict[UUID, DeliveryRow]:
    """The answer to ``load_statement``, by id."""
    return {row.id: row for row in map(_delivery_row, found)}


def delivery_ids_of(messages: Collection[UUID], limit: int) -> list[UUID]:
    """The deliveries of messages, in their order.

    Args:
        messages: their ids; one that no message can have has none.
        limit: deliveries at most.
    """
    ranges = [
        (message, delivery_id(message, MAX_DELIVERIES)) for message in messages if message_id_of(message) == message
    ]
    if not ranges:
        return []
    wanted = rows.table(("uuid", "uuid"), ranges)
    # One range after the other, each by the primary key: left to choose, PostgreSQL reads all deliveries in the order
    # of their ids, which takes seconds for each million.
    if rows.on_postgres():
        of_one = "SELECT id FROM nexus_delivery WHERE id > v.column1 AND id <= v.column2 ORDER BY id LIMIT %s"
        found = rows.fetch(
            f"SELECT d.id FROM {wanted.sql} CROSS JOIN LATERAL ({of_one}) AS d ORDER BY d.id LIMIT %s",
            [*wanted.parameters, limit, limit],
        )
    else:
        found = rows.fetch(
            f"SELECT d.id FROM {wanted.sql} CROSS JOIN nexus_delivery d WHERE d.id > v.column1 AND d.id <= v.column2"
            " ORDER BY d.id LIMIT %s",
            [*wanted.parameters, limit],
        )
    return [rows.to_uuid(row[0]) for row in found]


def _delivery_row(row: Sequence[Any]) -> DeliveryRow:
    identifier, workflow_id, mailbox_id, agent, position, state, attempts, lock_losses, *rest = row
    lease_token, sent, processed, source, labels, handled, *sender = rest
    return DeliveryRow(
        rows.to_uuid(identifier),
        rows.to_uuid(workflow_id),
        mailbox_id,
        agent,
        position,
        state,
        attempts,
        lock_losses,
        rows.to_uuid(lease_token) if lease_token else None,
        sent,
        processed,
        source,
        labels,
        handled is not None,
        MailboxRow(*sender) if sender and sender[0] is not None else None,
    )


def settle(ids: Collection[UUID], state: DeliveryState, now: datetime) -> None:
    """Give deliveries a final state."""
    update = settling_update(ids, state, now)
    rows.execute(update.sql, update.parameters)


def settling_update(ids: Collection[UUID], state: DeliveryState, now: datetime) -> rows.Fragment:
    """What gives deliveries a final state."""
    chosen = rows.Fragment("= %s", list(ids)) if len(ids) == 1 else rows.among(ids)
    return rows.Fragment(
        f"UPDATE nexus_delivery SET state = %s, settled_at = %s, lease_token = NULL WHERE id {chosen.sql}",
        [state.value, now, *chosen.parameters],
    )


def reschedule(ids: Collection[UUID], state: DeliveryState, available_at: datetime) -> None:
    """Give deliveries a polled state and the time at which the relay looks at them next."""
    chosen = rows.among(ids)
    rows.execute(
        f"UPDATE nexus_delivery SET state = %s, available_at = %s, lease_token = NULL WHERE id {chosen.sql}",
        [state.value, available_at, *chosen.parameters],
    )


def mark_sent(ids: Collection[UUID], due: datetime, *, claimed_until: datetime | None = None) -> None:
    """Note that the broker confirmed deliveries. Those that were handled or failed in the meantime keep their state.

    A mark that comes after a failure would make a delivery that waits for its next attempt look as if a queue had it.
    Losing a mark costs one more publish, never a message.

    Args:
        ids: of the deliveries.
        due: when the relay looks at them next.
        claimed_until: what the relay's claim made of their ``available_at``; None when they were published first.
    """
    confirmed = rows.among(ids)
    unchanged, value = ("attempts = %s", 0) if claimed_until is None else ("available_at = %s", claimed_until)
    if rows.on_postgres():
        # A locked row is being handled at this moment and needs no mark. Skipping it avoids waiting and deadlocks.
        rows.execute(
            "UPDATE nexus_delivery SET state = 'sent', available_at = %s WHERE id IN (SELECT id FROM nexus_delivery"
            f" WHERE id {confirmed.sql} AND state = 'pending' AND {unchanged} FOR NO KEY UPDATE SKIP LOCKED)",
            [due, *confirmed.parameters, value],
        )
        return
    rows.execute(
        f"UPDATE nexus_delivery SET state = 'sent', available_at = %s WHERE id {confirmed.sql} AND state = 'pending'"
        f" AND {unchanged}",
        [due, *confirmed.parameters, value],
    )


@dataclass(slots=True)
class StoredDelivery:
    """What publishing needs of a delivery: read from the log, or kept from the moment it was stored.

    Args:
        id, workflow_id, queue, redeliveries: of its row.
        body, signature: of its message.
        next_for: its agent, where it was sent to this one alone and nothing stands before it in its mailbox; empty
            where nobody knows.
    """

    id: UUID
    workflow_id: UUID
    queue: str
    body: bytes
    signature: str
    redeliveries: int = 0
    next_for: str = ""


def load_for_publishing(ids: Collection[UUID]) -> list[StoredDelivery]:
    """Read what publishing needs, in the order of workflow and sequence."""
    wanted = rows.among(ids)
    found = rows.fetch(
        "SELECT d.id, d.workflow_id, d.queue, m.envelope, m.signature, d.redeliveries"
        " FROM nexus_delivery d JOIN nexus_message m ON m.id = d.message_id"
        f" WHERE d.id {wanted.sql} ORDER BY d.workflow_id, m.sequence, d.id",
        wanted.parameters,
    )
    return [
        StoredDelivery(rows.to_uuid(row[0]), rows.to_uuid(row[1]), row[2], bytes(row[3]), row[4], row[5])
        for row in found
    ]


OFFERED = datetime(9999, 1, 1, tzinfo=UTC)
"""``available_at`` of what external agents may lease: the relay has nothing to look at."""


def carried(deliveries: Sequence[StoredDelivery]) -> list[StoredDelivery]:
    """Offer the deliveries of external agents, in the transaction that is open; return the others, which a broker
    carries. They must be PENDING and due.
    """
    offered = [stored.id for stored in deliveries if stored.queue == EXTERNAL]
    if not offered:
        return list(deliveries)
    reschedule(offered, DeliveryState.SENT, OFFERED)
    return [stored for stored in deliveries if stored.queue != EXTERNAL]


def offered_to(agent: str, now: datetime, limit: int) -> list[UUID]:
    """Deliveries that an external agent may lease, the longest known first.

    Args:
        agent: its name.
        now: the current time; what is tried again later is not due before.
        limit: how many at most.
    """
    found = rows.fetch(
        "SELECT d.id FROM nexus_delivery d JOIN nexus_mailbox m ON m.id = d.mailbox_id"
        " JOIN nexus_workflow w ON w.id = d.workflow_id"
        " WHERE d.queue = 'external' AND d.agent = %s AND (d.state = 'sent' OR d.state = 'pending' AND"
        " d.available_at <= %s) AND d.state IN ('sent', 'pending') AND d.position <= m.processed + 1"
        " AND w.status = 'running' ORDER BY d.id LIMIT %s",
        [agent, now, limit],
    )
    return [rows.to_uuid(row[0]) for row in found]


def held_successors(mailboxes: Mapping[int, int], reach: int) -> list[tuple[UUID, int, int]]:
    """Held deliveries right behind what is processed.

    Args:
        mailboxes: mailbox id → processed.
        reach: how many positions ahead to look.

    Returns:
        (delivery id, mailbox id, position) in order; only unbroken runs that begin at ``processed + 1``.
    """
    if not mailboxes:
        return []
    behind = rows.table(("bigint", "bigint"), list(mailboxes.items()))
    found = rows.fetch(
        f"SELECT d.id, d.mailbox_id, d.position FROM {behind.sql} JOIN nexus_delivery d ON d.mailbox_id = v.column1"
        " AND d.position > v.column2 AND d.position <= v.column2 + %s WHERE d.state = 'held'"
        " ORDER BY d.mailbox_id, d.position",
        [*behind.parameters, reach],
    )
    expected = {mailbox: processed + 1 for mailbox, processed in mailboxes.items()}
    run = []
    for identifier, mailbox, position in found:
        if position == expected[mailbox]:
            run.append((rows.to_uuid(identifier), mailbox, position))
            expected[mailbox] += 1
    return run
