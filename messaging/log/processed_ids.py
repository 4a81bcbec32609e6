"""Statements on processed-ID rows."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import psycopg
from django.db import IntegrityError

from messaging.log import rows

_TABLE = "nexus_processed_message"
_COLUMNS: rows.Columns = (("message_id", "uuid"), ("consumer", "text"), ("expires_at", "timestamptz"))
_UNLESS_THERE = "ON CONFLICT (message_id, consumer) DO NOTHING"


def mark_processed_ids(pairs: Collection[tuple[UUID, str]], expires_at: datetime) -> set[tuple[UUID, str]]:
    """Insert processed-ID rows.

    Args:
        pairs: (message id, consumer).
        expires_at: until when the rows are kept.

    Returns:
        The pairs that were new. The others have been processed before.
    """
    new = rows.insert(
        _TABLE,
        _COLUMNS,
        [(message_id, consumer, expires_at) for message_id, consumer in pairs],
        on_conflict=_UNLESS_THERE,
        returning="message_id, consumer",
    )
    return {(rows.to_uuid(message_id), consumer) for message_id, consumer in new}


def processed_ids_insert(pairs: Collection[tuple[UUID, str]], expires_at: datetime) -> rows.Fragment:
    """What inserts processed-ID rows, and fails where one is there."""
    names, types = ",".join(name for name, _ in _COLUMNS), [type for _, type in _COLUMNS]
    source = rows.table(types, [(*pair, expires_at) for pair in pairs])
    return rows.Fragment(
        f"INSERT INTO {_TABLE} ({names}) SELECT * FROM {source.sql}",
        source.parameters,
    )


def is_there_already(error: IntegrityError) -> bool:
    """Whether a statement failed because a processed-ID row was there."""
    cause = error.__cause__
    if isinstance(cause, psycopg.Error):
        return cause.diag.table_name == _TABLE
    return f"{_TABLE}." in str(error)
