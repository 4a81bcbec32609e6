"""Statements on the results of ``context.once``."""

from __future__ import annotations

from uuid import UUID

from django.utils import timezone

from messaging.log import rows

_COLUMNS: rows.Columns = (("delivery_id", "uuid"), ("key", "text"), ("result", "bytea"), ("created_at", "timestamptz"))


def find_result(delivery_id: UUID, key: str) -> bytes | None:
    """The stored result of a call, or None."""
    found = rows.fetch("SELECT result FROM nexus_once_result WHERE delivery_id = %s AND key = %s", [delivery_id, key])
    return bytes(found[0][0]) if found else None


def save_result(delivery_id: UUID, key: str, result: bytes) -> bytes:
    """Store a result unless there is one; return the stored one."""
    new = rows.insert(
        "nexus_once_result",
        _COLUMNS,
        [(delivery_id, key, result, timezone.now())],
        on_conflict="ON CONFLICT (delivery_id, key) DO NOTHING",
        returning="delivery_id",
    )
    stored = None if new else find_result(delivery_id, key)
    return result if stored is None else stored
