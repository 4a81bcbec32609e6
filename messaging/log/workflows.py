"""Statements on workflows: the lock, and the counter of sequence numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from messaging.log import rows


@dataclass(slots=True)
class WorkflowRow:
    """A locked workflow. ``sequence`` is advanced in memory and written back by ``save_sequences``."""

    id: UUID
    status: str
    sequence: int
    max_messages: int | None
    failure_policy: str
    deadline_at: datetime | None


def lock_workflows(ids: Collection[UUID], *, wait: bool) -> dict[UUID, WorkflowRow]:
    """Lock workflow rows until the transaction ends.

    Args:
        ids: of the workflows.
        wait: wait for rows that another transaction holds; otherwise leave them out.

    Returns:
        The locked rows by id. Without ``wait`` a busy workflow is missing, like one that does not exist.
    """
    wanted = rows.among(ids)
    # SQLite's writers are one after another anyway.
    statement = lock_statement(wanted.sql, wait=wait) if rows.on_postgres() else _read_statement(wanted.sql)
    return locked_workflows(rows.fetch(statement, wanted.parameters))


def lock_statement(among: str, *, wait: bool) -> str:
    """What locks the workflows whose id fulfils a condition, on PostgreSQL."""
    return f"{_read_statement(among)} FOR NO KEY UPDATE{'' if wait else ' SKIP LOCKED'}"


def _read_statement(among: str) -> str:
    return (
        "SELECT id, status, sequence, max_messages, failure_policy, deadline_at FROM nexus_workflow"
        f" WHERE id {among} ORDER BY id"
    )


def locked_workflows(found: Iterable[rows.Row]) -> dict[UUID, WorkflowRow]:
    """The answer to ``lock_statement``, by id."""
    return {
        (key := rows.to_uuid(row[0])): WorkflowRow(key, row[1], row[2], row[3], row[4], rows.to_datetime(row[5]))
        for row in found
    }


def save_sequences(workflows: Iterable[WorkflowRow]) -> None:
    """Write the sequence counters of locked workflows."""
    values = [(workflow.id, workflow.sequence) for workflow in workflows]
    if values:
        update = sequences_update(values)
        rows.execute(update.sql, update.parameters)


def sequences_update(values: Collection[tuple[UUID, int]]) -> rows.Fragment:
    """What writes sequence counters, given as (workflow, counter)."""
    if rows.on_postgres() and len(values) == 1:
        ((key, value),) = values
        return rows.Fragment("UPDATE nexus_workflow SET sequence = %s WHERE id = %s", [value, key])
    new = rows.table(("uuid", "bigint"), list(values))
    return rows.Fragment(
        f"UPDATE nexus_workflow SET sequence = v.column2 FROM {new.sql} WHERE nexus_workflow.id = v.column1",
        new.parameters,
    )
