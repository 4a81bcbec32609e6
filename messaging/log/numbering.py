"""Numbering: the lock and counter of a workflow and the counters of its mailboxes, on PostgreSQL in one statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from messaging.log import rows
from messaging.log.mailboxes import MAILBOX_COLUMNS, ON_MAILBOX, MailboxRow, extend_mailboxes
from messaging.log.prepared import Prepared, call, prepare
from messaging.log.workflows import WorkflowRow, lock_workflows, save_sequences

MailboxCounts = Mapping[tuple[UUID, str], tuple[int, int]]
"""(workflow, agent) → (how many more are sent, how many of them are processed at once)"""


def _statement(count: str, workflow: str, source: str) -> str:
    """Counts a workflow and its mailboxes up. The mailboxes wait for the workflow's row: the lock order of everything
    that handles and sends.

    Args:
        count, workflow: how many messages are sent, and the workflow's id.
        source: the mailboxes, with the columns of ``MAILBOX_COLUMNS``.
    """
    names = ",".join(name for name, _ in MAILBOX_COLUMNS)
    return (
        f"WITH w AS (UPDATE nexus_workflow SET sequence = sequence + {count} WHERE id = {workflow}"
        " RETURNING id, status, sequence, max_messages, failure_policy, deadline_at),"
        f" m AS (INSERT INTO nexus_mailbox ({names})"
        f" SELECT v.* FROM {source} JOIN w ON w.id = v.column1 {ON_MAILBOX}"
        " RETURNING agent, id AS mailbox_id, sent, processed)"
        " SELECT w.status, w.sequence, w.max_messages, w.failure_policy, w.deadline_at,"
        " m.agent, m.mailbox_id, m.sent, m.processed FROM w LEFT JOIN m ON true"
    )


_ONE = Prepared(
    "nexus_number_one",
    ("bigint", "uuid", "text", "bigint", "bigint"),
    _statement("$1", "$2", "(VALUES ($2, $3, $4, $5)) AS v"),
)
_MANY = Prepared(
    "nexus_number_many",
    ("bigint", "uuid", "text[]", "bigint[]", "bigint[]"),
    _statement(
        "$1",
        "$2",
        "(SELECT $2 AS column1, u.* FROM unnest($3, $4, $5) AS u(column2, column3, column4)) AS v",
    ),
)


def numbering_call(workflow_id: UUID, count: int, added: MailboxCounts) -> str:
    """SQL that does what ``number_messages`` does, by a statement that the session has prepared (``may_prepare``).

    Args:
        workflow_id, count: see there.
        added: see there; not empty.
    """
    if len(added) == 1:
        ((key, counts),) = added.items()
        prepare(_ONE)
        return call(_ONE, count, workflow_id, key[1], *counts)
    prepare(_MANY)
    agents, sent, processed = zip(*((key[1], *counts) for key, counts in sorted(added.items())), strict=True)
    return call(
        _MANY,
        count,
        workflow_id,
        rows.array(agents, "text"),
        rows.array(sent, "bigint"),
        rows.array(processed, "bigint"),
    )


def number_messages(
    workflow_id: UUID, count: int, added: MailboxCounts
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
    return numbered(workflow_id, count, found)


def numbered(
    workflow_id: UUID, count: int, found: Sequence[rows.Row]
) -> tuple[WorkflowRow | None, dict[tuple[UUID, str], MailboxRow]]:
    """What the database answered to numbering so many messages. See ``number_messages``."""
    if not found:
        return None, {}
    status, sequence, max_messages, failure_policy, deadline = found[0][:5]
    workflow = WorkflowRow(
        workflow_id, status, sequence - count, max_messages, failure_policy, rows.to_datetime(deadline)
    )
    return workflow, {(workflow_id, row[5]): MailboxRow(*row[6:]) for row in found if row[5] is not None}


def _with_mailboxes(workflow_id: UUID, count: int, added: MailboxCounts) -> list[tuple[Any, ...]]:
    source = rows.table(
        [type for _, type in MAILBOX_COLUMNS], [(*key, *counts) for key, counts in sorted(added.items())]
    )
    return rows.fetch(_statement("%s", "%s", source.sql), [count, workflow_id, *source.parameters], prepare=True)


def _alone(workflow_id: UUID, count: int) -> list[tuple[Any, ...]]:
    """A message to an empty group has no mailbox."""
    return rows.fetch(
        "UPDATE nexus_workflow SET sequence = sequence + %s WHERE id = %s"
        " RETURNING status, sequence, max_messages, failure_policy, deadline_at, NULL, NULL, NULL, NULL",
        [count, workflow_id],
        prepare=True,
    )


def _in_steps(
    workflow_id: UUID, count: int, added: MailboxCounts
) -> tuple[WorkflowRow | None, dict[tuple[UUID, str], MailboxRow]]:
    workflow = lock_workflows([workflow_id], wait=True).get(workflow_id)
    if workflow is None:
        return None, {}
    workflow.sequence += count
    save_sequences([workflow])
    workflow.sequence -= count
    return workflow, extend_mailboxes(added) if added else {}
