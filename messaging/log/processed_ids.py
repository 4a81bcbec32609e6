"""Statements on processed-ID rows."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from messaging.log import rows


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


def forget_processed_ids(pairs: Collection[tuple[UUID, str]]) -> None:
    """Delete processed-ID rows, given as (message id, consumer)."""
    if pairs:
        chosen = rows.table(("uuid", "text"), list(pairs))
        rows.execute(
            "DELETE FROM nexus_processed_message WHERE (message_id, consumer) IN"
            f" (SELECT column1, column2 FROM {chosen.sql})",
            chosen.parameters,
        )
