"""Opening the transaction of a batch: on PostgreSQL the policy, the locks and the rows in one round trip."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from messaging.log import prepared, rows
from messaging.log.access import HOLD_EPOCH, Epoch, epoch_of, hold_epoch
from messaging.log.deliveries import DeliveryRow, load_deliveries, load_statement, loaded_deliveries
from messaging.log.signing import READ_STATE, read_signing_token, token_of
from messaging.log.workflows import WorkflowRow, lock_statement, lock_workflows, locked_workflows

_LOCK = prepared.Prepared("nexus_lock", ("uuid",), lock_statement("= $1", wait=True))
_TRY_LOCK = prepared.Prepared("nexus_try_lock", ("uuid",), lock_statement("= $1", wait=False))
_LOAD = prepared.Prepared("nexus_load", ("uuid",), load_statement("= $1", with_sender_mailbox=True))


@dataclass(slots=True)
class OpenedBatch:
    """What a transaction holds and knows after its first statements.

    Args:
        token: of the signing keys.
        epoch: which policy holds until it ends.
        workflows: those that it locked, by id.
        deliveries: those that exist, by id; those of other workflows may change at any time. That of one message has
            its sender's mailbox, to whom the answer goes.
    """

    token: UUID
    epoch: Epoch
    workflows: dict[UUID, WorkflowRow]
    deliveries: dict[UUID, DeliveryRow]


def open_batch(
    workflow_ids: Collection[UUID], delivery_ids: Collection[UUID], *, wait: bool, lock_wait: float
) -> OpenedBatch:
    """Hold the access policy, lock workflows, then read the token of the keys and deliveries with their mailboxes'
    counters. Call it first in a transaction.

    Args:
        workflow_ids: of the workflows, which are locked in the order of their ids.
        delivery_ids: of the deliveries.
        wait: wait for workflows that another transaction holds; otherwise they are left out.
        lock_wait: seconds that any statement of this transaction may wait for a lock from now on. (SQLite has its own
            timeout.)

    Raises:
        django.db.OperationalError: a lock did not come in time.
    """
    if not rows.on_postgres():
        epoch, workflows = hold_epoch(), lock_workflows(workflow_ids, wait=wait)
        return OpenedBatch(read_signing_token(), epoch, workflows, load_deliveries(delivery_ids))
    # One message of several statements, each with a snapshot of its own: the rows are read after the wait for their
    # lock. Without parameters, because several statements cannot have any.
    lock, load = _lock_and_load(workflow_ids, delivery_ids, wait=wait)
    *_, held, locked, token, loaded = rows.fetch_each(
        f"SET LOCAL lock_timeout = {int(lock_wait * 1000)}", *HOLD_EPOCH, lock, READ_STATE, load
    )
    return OpenedBatch(token_of(token), epoch_of(held), locked_workflows(locked), loaded_deliveries(loaded))


def _lock_and_load(workflow_ids: Collection[UUID], delivery_ids: Collection[UUID], *, wait: bool) -> tuple[str, str]:
    """The statements that lock workflows and read deliveries; for one message those that the session has planned."""
    if len(workflow_ids) == len(delivery_ids) == 1 and prepared.may_prepare():
        lock = _LOCK if wait else _TRY_LOCK
        prepared.prepare(lock, _LOAD)
        return prepared.call(lock, *workflow_ids), prepared.call(_LOAD, *delivery_ids)
    return (
        lock_statement(f"= ANY({rows.ids_literal(workflow_ids)})", wait=wait),
        load_statement(f"= ANY({rows.ids_literal(delivery_ids)})"),
    )
