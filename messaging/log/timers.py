"""Statements on timers. Whoever deletes one to send it, or to cancel it, holds its workflow's lock."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from messaging.log import rows

_COLUMNS: rows.Columns = (
    ("id", "uuid"),
    ("workflow_id", "uuid"),
    ("source", "text"),
    ("recipient", "text"),
    ("type", "text"),
    ("envelope", "bytea"),
    ("deduplication_id", "text"),
    ("expires_in", "double precision"),
    ("due_at", "timestamptz"),
    ("state", "text"),
    ("attempts", "smallint"),
    ("last_error", "text"),
    ("created_at", "timestamptz"),
)


@dataclass(frozen=True, slots=True)
class TimerRow:
    """A timer that is due."""

    id: UUID
    workflow_id: UUID
    envelope: bytes
    deduplication_id: str | None
    expires_in: float | None
    attempts: int


def insert_timers(timers: Sequence[rows.Row]) -> None:
    """Insert timers: a row each with the columns from ``id`` to ``due_at``, then ``created_at``."""
    rows.insert("nexus_timer", _COLUMNS, [(*row[:9], "waiting", 0, "", row[9]) for row in timers])


def count_timers(workflow_ids: Collection[UUID]) -> dict[UUID, int]:
    """How many timers each workflow has."""
    wanted = rows.among(workflow_ids)
    found = rows.fetch(
        f"SELECT workflow_id, count(*) FROM nexus_timer WHERE workflow_id {wanted.sql} GROUP BY workflow_id",
        wanted.parameters,
    )
    return {rows.to_uuid(row[0]): row[1] for row in found}


def due_timers(now: datetime, limit: int) -> list[tuple[UUID, UUID]]:
    """(timer, workflow) of what is due, the longest due first. Nothing is locked."""
    found = rows.fetch(
        "SELECT id, workflow_id FROM nexus_timer WHERE state = 'waiting' AND due_at <= %s"
        f" ORDER BY due_at, id LIMIT {limit}",
        [now],
    )
    return [(rows.to_uuid(row[0]), rows.to_uuid(row[1])) for row in found]


def take_timers(ids: Sequence[UUID]) -> list[TimerRow]:
    """Delete waiting timers and return those that were there, in the order of the ids."""
    chosen = rows.among(ids)
    found = rows.fetch(
        f"DELETE FROM nexus_timer WHERE id {chosen.sql} AND state = 'waiting'"
        " RETURNING id, workflow_id, envelope, deduplication_id, expires_in, attempts",
        chosen.parameters,
    )
    taken = {
        (key := rows.to_uuid(row[0])): TimerRow(key, rows.to_uuid(row[1]), bytes(row[2]), row[3], row[4], row[5])
        for row in found
    }
    return [taken[key] for key in ids if key in taken]


def timer_attempts(timer_id: UUID) -> int | None:
    """How often a timer was refused; None when it is not there any more."""
    found = rows.fetch("SELECT attempts FROM nexus_timer WHERE id = %s AND state = 'waiting'", [timer_id])
    return found[0][0] if found else None


def put_off_timer(timer_id: UUID, *, state: str, due_at: datetime, error: str) -> None:
    """Count an attempt to send a timer that failed."""
    rows.execute(
        "UPDATE nexus_timer SET attempts = attempts + 1, state = %s, due_at = %s, last_error = %s WHERE id = %s",
        [state, due_at, error, timer_id],
    )


def cancel_timers(workflow_id: UUID, *, source: str | None = None, deduplication_ids: Collection[str] = ()) -> int:
    """Delete timers of a workflow, whose lock the caller holds; return how many.

    Args:
        workflow_id: of the workflow.
        source: only those of this sender.
        deduplication_ids: only those with one of these; any when empty.
    """
    conditions: list[str] = ["workflow_id = %s"]
    parameters: list[object] = [workflow_id]
    if source is not None:
        conditions.append("source = %s")
        parameters.append(source)
    if deduplication_ids:
        chosen = rows.among(deduplication_ids, "text")
        conditions.append(f"deduplication_id {chosen.sql}")
        parameters += chosen.parameters
    return rows.execute(f"DELETE FROM nexus_timer WHERE {' AND '.join(conditions)}", parameters)
