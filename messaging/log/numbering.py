"""Numbering: the lock and counter of a workflow and the counters of its mailboxes, on PostgreSQL in one statement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from messaging.log import rows
from messaging.log.mailboxes import MAILBOX_COLUMNS, ON_MAILBOX, MailboxRow, extend_mailboxes
from messaging.log.workflows import WorkflowRow, lock_workflows, save_sequences

_COUNT_WORKFLOW = (
    "UPDATE nexus_workflow SET sequence = sequence + %s WHERE id = %s"
    " RETURNING id, status, sequence, max_messages, failure_policy, deadline_at"
)


def number_messages(
    workflow_id: UUID, count: int, added: Mapping[tuple[UUID, str], tuple[int, int]]
) -> tuple[WorkflowRow | None, dict[tuple[UUID, str], MailboxRow]]:
    """Lock a workflow, advance its counter and count deliveries into its mailboxes.

    Args:
        workflow_id: of the workflow.
        count: how many messages are sent.
        added: see ``extend_mailboxes``; all of this workflow.

    Returns:
        The workflow, with the ``sequence`` from before, and the mailboxes as they are now; None and nothing where there
        is no such workflow.
    """
    if not rows.on_postgres():
        return _in_steps(workflow_id, count, added)
    found = _with_mailboxes(workflow_id, count, added) if added else _alone(workflow_id, count)
    if not found:
        return None, {}
    status, sequence, max_messages, failure_policy, deadline = found[0][:5]
    workflow = WorkflowRow(
        workflow_id, status, sequence - count, max_messages, failure_policy, rows.to_datetime(deadline)
    )
    return workflow, {(workflow_id, row[5]): MailboxRow(*row[6:]) for row in found if row[5] is not None}


def _with_mailboxes(
    workflow_id: UUID, count: int, added: Mapping[tuple[UUID, str], tuple[int, int]]
) -> list[tuple[Any, ...]]:
    """The mailboxes wait for the workflow's row: the lock order of everything that handles and sends."""
    source = rows.table(
        [type for _, type in MAILBOX_COLUMNS], [(*key, *counts) for key, counts in sorted(added.items())]
    )
    names = ",".join(name for name, _ in MAILBOX_COLUMNS)
    return rows.fetch(
        f"WITH w AS ({_COUNT_WORKFLOW}), m AS (INSERT INTO nexus_mailbox ({names})"
        f" SELECT v.* FROM {source.sql} JOIN w ON w.id = v.column1 {ON_MAILBOX}"
        " RETURNING agent, id AS mailbox_id, sent, processed)"
        " SELECT w.status, w.sequence, w.max_messages, w.failure_policy, w.deadline_at,"
        " m.agent, m.mailbox_id, m.sent, m.processed FROM w LEFT JOIN m ON true",
        [count, workflow_id, *source.parameters],
        prepare=True,
    )


def _alone(workflow_id: UUID, count: int) -> list[tuple[Any, ...]]:
    """A message to an empty group has no mailbox."""
    return rows.fetch(
        f"WITH w AS ({_COUNT_WORKFLOW})"
        " SELECT status, sequence, max_messages, failure_policy, deadline_at, NULL, NULL, NULL, NULL FROM w",
        [count, workflow_id],
        prepare=True,
    )


def _in_steps(
    workflow_id: UUID, count: int, added: Mapping[tuple[UUID, str], tuple[int, int]]
) -> tuple[WorkflowRow | None, dict[tuple[UUID, str], MailboxRow]]:
    workflow = lock_workflows([workflow_id], wait=True).get(workflow_id)
    if workflow is None:
        return None, {}
    workflow.sequence += count
    save_sequences([workflow])
    workflow.sequence -= count
    return workflow, extend_mailboxes(added) if added else {}
