"""Statements on messages."""

from __future__ import annotations

from collections.abc import Sequence

from messaging.log import rows

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


def insert_messages(values: Sequence[rows.Row]) -> None:
    rows.insert("nexus_message", MESSAGE_COLUMNS, values)
