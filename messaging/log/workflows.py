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


def save_sequences(workflows: Iterable[WorkflowRow]) -> None:
    """Write the sequence counters of locked workflows."""
    values = [(workflow.id, workflow.sequence) for workflow in workflows]
    if values:
        new = rows.table(("uuid", "bigint"), values)
        rows.execute(
            f"UPDATE nexus_workflow SET sequence = v.column2 FROM {new.sql} WHERE nexus_workflow.id = v.column1",
            new.parameters,
        )
