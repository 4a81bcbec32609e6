"""Statements on messages: a message and its deliveries are stored together."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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


def count_messages(ids: Collection[UUID]) -> int:
    """How many of these messages there are."""
    wanted = rows.among(ids)
    return int(rows.fetch(f"SELECT count(*) FROM nexus_message WHERE id {wanted.sql}", wanted.parameters)[0][0])


def insert_messages(messages: Sequence[NewMessage], deliveries: Sequence[NewDelivery]) -> None:
    """Insert messages and their deliveries: on PostgreSQL with one statement.

    Args:
        messages: in the order of their numbers.
        deliveries: of these messages.
    """
    if rows.on_postgres() and messages:
        inserted = rows.joined(messages_inserts(messages, deliveries))
        rows.execute(inserted.sql, inserted.parameters, prepare=True)
        return
    rows.insert("nexus_message", MESSAGE_COLUMNS, messages)
    rows.insert("nexus_delivery", DELIVERY_COLUMNS, deliveries)


def messages_inserts(messages: Sequence[NewMessage], deliveries: Sequence[NewDelivery]) -> list[rows.Fragment]:
    """What inserts messages and their deliveries, to be run as one statement. PostgreSQL only."""
    return [
        _insertion(table, columns, new)
        for table, columns, new in (
            ("nexus_message", MESSAGE_COLUMNS, messages),
            ("nexus_delivery", DELIVERY_COLUMNS, deliveries),
        )
        if new
    ]


def _insertion(table: str, columns: rows.Columns, new: Sequence[rows.Row]) -> rows.Fragment:
    source = rows.table([type for _, type in columns], new)
    names = ",".join(name for name, _ in columns)
    return rows.Fragment(f"INSERT INTO {table} ({names}) SELECT * FROM {source.sql}", source.parameters)
