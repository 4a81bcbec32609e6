"""A send that is alone in its transaction, in two round trips. PostgreSQL only.

BEGIN, the access policy, numbering     open_numbered
messages and deliveries, COMMIT         store_and_commit
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections

from messaging.log import prepared, rows
from messaging.log.access import HOLD_EPOCH, Epoch, epoch_of
from messaging.log.committing import run_and_commit
from messaging.log.deliveries import NewDelivery
from messaging.log.mailboxes import MailboxRow
from messaging.log.messages import NewMessage, insert_messages, messages_inserts
from messaging.log.numbering import MailboxCounts, numbered, numbering_call
from messaging.log.workflows import WorkflowRow


@dataclass(slots=True)
class OpenedSend:
    """What a transaction holds and knows after its first statements.

    Args:
        epoch: which policy holds until it ends.
        workflow: locked, with the ``sequence`` from before; None where there is none.
        mailboxes: of the recipients, after counting.
    """

    epoch: Epoch
    workflow: WorkflowRow | None
    mailboxes: dict[tuple[UUID, str], MailboxRow]


def may_own() -> bool:
    """Whether no transaction is open, so that one can be sent as ``open_numbered`` and ``store_and_commit`` do."""
    if not rows.on_postgres():
        return False
    database = connections[DEFAULT_DB_ALIAS]
    return not database.in_atomic_block and database.get_autocommit() and prepared.may_prepare()


def open_numbered(workflow_id: UUID, count: int, added: MailboxCounts) -> OpenedSend:
    """Hold the access policy, then number messages (``number_messages``). Call it first in an ``atomic`` block that
    was entered where this process ``may_own`` its transaction.

    Args:
        workflow_id, count: see ``number_messages``.
        added: see there; not empty.
    """
    numbering = numbering_call(workflow_id, count, added)
    *_, held, found = rows.fetch_each(*HOLD_EPOCH, numbering)
    return OpenedSend(epoch_of(held), *numbered(workflow_id, count, found))


def store_and_commit(messages: Sequence[NewMessage], deliveries: Sequence[NewDelivery]) -> None:
    """Insert messages with their deliveries, and for a single one commit too. Call it last in the block: its end finds
    the transaction over, and runs what waits for the commit.

    Args:
        messages, deliveries: see ``insert_messages``; at least one of each.

    Raises:
        django.db.Error: as of the statement or of the commit.
    """
    if len(messages) > 1:  # the round trip is nothing beside so many rows
        insert_messages(messages, deliveries)
    else:
        run_and_commit(rows.joined(messages_inserts(messages, deliveries)))
