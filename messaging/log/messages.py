"""Statements on messages: a message and its deliveries are stored together."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from messaging.log import rows
from messaging.log.deliveries import DELIVERY_COLUMNS, NewDelivery


class NewMessage(NamedTuple):
    """A message to be inserted. Its fields are the columns, in the order of ``MESSAGE_COLUMNS``."""

    id: UUID
    workflow_id: UUID
    sequence: int
    type: str
    source: str
    subject: str
    envelope: bytes
    signature: str
    correlation_id: UUID | None
    deduplication_id: str | None
    created_at: datetime


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


def insert_messages(messages: Sequence[NewMessage], deliveries: Sequence[NewDelivery]) -> None:
    """Insert messages and their deliveries: on PostgreSQL with one statement.

    Args:
        messages: in the order of their numbers.
        deliveries: of these messages.
    """
    if not deliveries or not rows.on_postgres():
        rows.insert("nexus_message", MESSAGE_COLUMNS, messages)
        rows.insert("nexus_delivery", DELIVERY_COLUMNS, deliveries)
        return
    parent, child = _insertion("nexus_message", MESSAGE_COLUMNS), _insertion("nexus_delivery", DELIVERY_COLUMNS)
    stored = rows.table([type for _, type in MESSAGE_COLUMNS], messages)
    delivered = rows.table([type for _, type in DELIVERY_COLUMNS], deliveries)
    rows.execute(
        f"WITH stored AS ({parent} SELECT * FROM {stored.sql}) {child} SELECT * FROM {delivered.sql}",
        [*stored.parameters, *delivered.parameters],
        prepare=True,
    )


def _insertion(table: str, columns: rows.Columns) -> str:
    return f"INSERT INTO {table} ({','.join(name for name, _ in columns)})"
