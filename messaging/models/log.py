"""The statements of the hot path: each function is one statement over a whole batch.

Lock order: the workflow row, locked in the order of ids, is the only lock that anything here waits for. Whoever holds
it owns the workflow's counters, mailboxes and the states of its deliveries; the publisher's and the relay's marks touch
deliveries without it, and skip rows that are locked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from messaging.models import rows
from messaging.models.delivery import DeliveryState


@dataclass(slots=True)
class WorkflowRow:
    """A locked workflow. ``sequence`` is advanced in memory and written back by ``save_sequences``."""

    id: UUID
    status: str
    sequence: int
    max_messages: int | None
    failure_policy: str
    deadline_at: datetime | None


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
    lease_token: UUID | None
    sent: int
    processed: int


@dataclass(slots=True)
class MailboxRow:
    id: int
    sent: int
    processed: int


MESSAGE_COLUMNS: rows.Columns = (
    ("id", "uuid"),
    ("workflow_id", "uuid"),
    ("sequence", "bigint"),
    ("type", "text"),
    ("source", "text"),
    ("subject", "text"),
    ("envelope", "bytea"),
    ("signature", "text"),
    ("correlation_id", "uuid"),
    ("deduplication_id", "text"),
    ("created_at", "timestamptz"),
)
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


def lock_workflows(ids: Collection[UUID], *, wait: bool) -> dict[UUID, WorkflowRow]:
    """Lock workflow rows until the transaction ends.

    Args:
        ids: of the workflows.
        wait: wait for rows that another transaction holds; otherwise leave them out.

    Returns:
        The locked rows by id. Without ``wait`` a busy workflow is missing, like one that does not exist.
    """
    lock = ("FOR NO KEY UPDATE" if wait else "FOR NO KEY UPDATE SKIP LOCKED") if rows.on_postgres() else ""
    wanted = rows.among(ids)
    found = rows.fetch(
        "SELECT id, status, sequence, max_messages, failure_policy, deadline_at FROM nexus_workflow"
        f" WHERE id {wanted.sql} ORDER BY id {lock}",
        wanted.parameters,
    )
    return {
        (key := rows.to_uuid(row[0])): WorkflowRow(key, row[1], row[2], row[3], row[4], rows.to_datetime(row[5]))
        for row in found
    }


def limit_lock_wait(seconds: float) -> None:
    """Bound how long the statements of this transaction wait for locks (SQLite has its own timeout)."""
    if rows.on_postgres():
        rows.execute("SELECT set_config('lock_timeout', %s, true)", [f"{int(seconds * 1000)}ms"])


def save_sequences(workflows: Iterable[WorkflowRow]) -> None:
    """Write the sequence counters of locked workflows."""
    values = [(workflow.id, workflow.sequence) for workflow in workflows]
    if values:
        new = rows.table(("uuid", "bigint"), values)
        rows.execute(
            f"UPDATE nexus_workflow SET sequence = v.column2 FROM {new.sql} WHERE nexus_workflow.id = v.column1",
            new.parameters,
        )


def load_deliveries(ids: Collection[UUID]) -> dict[UUID, DeliveryRow]:
    """Read deliveries with their mailboxes' counters."""
    wanted = rows.among(ids)
    found = rows.fetch(
        "SELECT d.id, d.workflow_id, d.mailbox_id, d.agent, d.position, d.state, d.attempts, d.lease_token,"
        " m.sent, m.processed"
        " FROM nexus_delivery d JOIN nexus_mailbox m ON m.id = d.mailbox_id"
        f" WHERE d.id {wanted.sql}",
        wanted.parameters,
    )
    return {row.id: row for row in map(_delivery_row, found)}


def _delivery_row(row: Sequence[Any]) -> DeliveryRow:
    identifier, workflow_id, mailbox_id, agent, position, state, attempts, lease_token, sent, processed = row
    return DeliveryRow(
        rows.to_uuid(identifier),
        rows.to_uuid(workflow_id),
        mailbox_id,
        agent,
        position,
        state,
        attempts,
        rows.to_uuid(lease_token) if lease_token else None,
        sent,
        processed,
    )


def mark_processed_ids(pairs: Collection[tuple[UUID, str]], expires_at: datetime) -> set[tuple[UUID, str]]:
    """Insert processed-ID rows.

    Args:
        pairs: (message id, consumer).
        expires_at: until when the rows are kept.

    Returns:
        The pairs that were new. The others have been processed before.
    """
    new = rows.insert(
        "nexus_processed_message",
        (("message_id", "uuid"), ("consumer", "text"), ("expires_at", "timestamptz")),
        [(message_id, consumer, expires_at) for message_id, consumer in pairs],
        on_conflict="ON CONFLICT (message_id, consumer) DO NOTHING",
        returning="message_id, consumer",
    )
    return {(rows.to_uuid(message_id), consumer) for message_id, consumer in new}


def extend_mailboxes(
    added: Mapping[tuple[UUID, str], tuple[int, int]],
) -> dict[tuple[UUID, str], MailboxRow]:
    """Count deliveries into mailboxes, creating those that are missing.

    Args:
        added: (workflow, agent) → (how many more are sent, how many of them are processed at once).
    """
    saved = rows.insert(
        "nexus_mailbox",
        (("workflow_id", "uuid"), ("agent", "text"), ("sent", "bigint"), ("processed", "bigint")),
        [(*key, *counts) for key, counts in sorted(added.items())],
        on_conflict=(
            "ON CONFLICT (workflow_id, agent) DO UPDATE SET sent = nexus_mailbox.sent + excluded.sent,"
            # Not past anything that waits: an agent may have become a program with deliveries still unhandled.
            " processed = CASE WHEN nexus_mailbox.processed = nexus_mailbox.sent"
            " THEN nexus_mailbox.processed + excluded.processed ELSE nexus_mailbox.processed END"
        ),
        returning="workflow_id, agent, id, sent, processed",
    )
    return {(rows.to_uuid(row[0]), row[1]): MailboxRow(*row[2:]) for row in saved}


def advance_mailboxes(processed: Mapping[int, int]) -> None:
    """Set ``processed`` of mailboxes by id."""
    if processed:
        new = rows.table(("bigint", "bigint"), list(processed.items()))
        rows.execute(
            f"UPDATE nexus_mailbox SET processed = v.column2 FROM {new.sql} WHERE nexus_mailbox.id = v.column1",
            new.parameters,
        )


def insert_messages(values: Sequence[rows.Row]) -> None:
    rows.insert("nexus_message", MESSAGE_COLUMNS, values)


def insert_deliveries(values: Sequence[rows.Row]) -> None:
    rows.insert("nexus_delivery", DELIVERY_COLUMNS, values)


def settle(ids: Collection[UUID], state: DeliveryState, now: datetime) -> None:
    """Give deliveries a final state."""
    chosen = rows.among(ids)
    rows.execute(
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
    """What publishing needs of a delivery: read from the log, or kept from the moment it was stored."""

    id: UUID
    workflow_id: UUID
    queue: str
    body: bytes
    signature: str
    redeliveries: int = 0


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
