"""Storing what leased handlers left, if their token still holds.

Nobody waits here: a workflow that another transaction holds is left for the next turn, with its result.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from django.db import Error as DatabaseError
from django.db import transaction
from django.utils import timezone

from messaging import log
from messaging.conf import get_settings
from messaging.core.describing import name_of, safe_repr
from messaging.core.errors import NexusError, TerminalError
from messaging.core.outcome import Outcome
from messaging.gate.passage import Stop
from messaging.gate.receiving import admit_in_transaction
from messaging.log.lock_failures import is_lock_failure
from messaging.models import OPEN_STATUSES, DeliveryState, WorkflowStatus
from messaging.outcomes import Applied, Decision, apply
from messaging.outcomes.failing import decide
from messaging.receiving.database import check_database
from messaging.receiving.leased.running import HandlerResult, Lease
from messaging.receiving.planning import LOCK_WAIT, opening, release_held
from messaging.receiving.refusing import decide_logged
from messaging.security.labels.handling import outgoing_of
from messaging.security.labels.stored import labels_from
from messaging.sending import outbox

logger = logging.getLogger("nexus.receiving")

Succeeded = tuple[Lease, HandlerResult]


def store_all(succeeded: Sequence[Succeeded], applied: Applied) -> list[Lease]:
    """Store results in one transaction, or one by one where that fails.

    Args:
        succeeded: handlers that ended well, with what they left.
        applied: takes what became of them.

    Returns:
        The leases that are settled; the others are kept by the caller, who tries again.

    Raises:
        DatabaseUnavailable: call again later.
    """
    try:
        return store(succeeded, applied)
    except DatabaseError as error:
        check_database(error)
        if is_lock_failure(error):
            return []
        failure: Exception = error
    except NexusError as error:
        failure = error
    except Exception as error:  # noqa: BLE001 - what a handler left may break anything, for itself only
        failure = TerminalError(f"Its result cannot be stored ({name_of(error)}): {safe_repr(error)}")
    if len(succeeded) > 1:
        logger.info("The results of %d leased handlers could not be stored together: %s", len(succeeded), failure)
        return [lease for one in succeeded for lease in store_all([one], applied)]
    lease = succeeded[0][0]
    return [lease] if fail(lease, failure, applied) else []


def fail(lease: Lease, error: BaseException, applied: Applied) -> bool:
    """Settle the failure of a handler, if its token still holds.

    Returns:
        False when another transaction holds its workflow; call again later.

    Raises:
        DatabaseUnavailable: call again later.
    """
    row = lease.ready.row
    try:
        with transaction.atomic():
            if not log.lock_workflows([row.workflow_id], wait=False):
                return False
            current = log.load_deliveries([row.id]).get(row.id)
            if current is None or not _holds(lease, current):
                applied.add(_lost(lease))
                return True
            now = timezone.now()
            decision = decide(row.id, row.agent, current.attempts, error, now, lease=lease.token)
            applied.add(apply([decision], now))
    except DatabaseError as failed:
        check_database(failed)
        if is_lock_failure(failed):
            return False
        raise
    return True


def _holds(lease: Lease, row: log.DeliveryRow) -> bool:
    return row.state == DeliveryState.LEASED and row.lease_token == lease.token


def _lost(lease: Lease) -> Applied:
    row = lease.ready.row
    logger.warning(
        "Delivery %s to %s was taken over while its handler ran; this result is not stored.", row.id, row.agent
    )
    applied = Applied()
    applied.counts[Outcome.DUPLICATE] += 1
    return applied


def store(succeeded: Sequence[Succeeded], applied: Applied) -> list[Lease]:
    """Store results in one transaction: all that can be stored, or nothing.

    Args:
        succeeded: handlers that ended well, with what they left.
        applied: takes what became of them.

    Returns:
        The leases that are settled; the others are to be tried again.

    Raises:
        NexusError: what a handler left cannot be stored.
        django.db.Error: nothing was stored.
    """
    now = timezone.now()
    settled: list[Lease] = []
    done: list[Succeeded] = []
    decisions: list[Decision] = []
    lost: list[Lease] = []
    passages = [lease.ready.passage for lease, _ in succeeded]
    with transaction.atomic(), opening(passages, wait=False, lock_wait=LOCK_WAIT) as opened:
        workflows, rows = opened.workflows, opened.deliveries
        stops = _check([lease for lease, _ in succeeded])
        for lease, result in succeeded:
            row = rows.get(lease.ready.row.id)
            if row is not None and row.workflow_id not in workflows:
                continue  # busy: kept for the next turn
            stop = stops.get(lease.ready.row.id)
            if stop is not None and stop.outcome is Outcome.RETRY:
                continue  # the check could not decide: asked again in the next turn
            settled.append(lease)
            if row is None or not _holds(lease, row):
                lost.append(lease)
            elif stop is not None:  # what allowed it was taken away while the handler ran
                decisions.append(replace(decide_logged(lease.ready.passage, stop, row.agent), lease=lease.token))
            elif _may_store(workflows[row.workflow_id], result):
                done.append((lease, result))
                decisions.append(Decision(Outcome.PROCESSED, row.id, row.agent))
            else:  # somebody else ended its workflow while the handler ran
                decisions.append(Decision(Outcome.CANCELLED, row.id, row.agent))
        publish = _write(done, workflows)
        advanced = _advance(done, rows)
        _remember(done, rows)
        ours = apply(decisions, now)
        # Only one of a mailbox runs at a time, so more would only be held again.
        ours.publish += publish + release_held(_of_running(advanced, done, rows, workflows), now, reach=1)
    applied.add(ours)
    for lease in lost:
        applied.add(_lost(lease))
    return settled


def _check(leases: Sequence[Lease]) -> dict[UUID, Stop]:
    """Ask the checks whose answer must hold until the commit once more: a claim's transaction is long over."""
    stopped = admit_in_transaction([lease.ready.passage for lease in leases])
    return {passage.delivery_id: passage.stop for passage in stopped if passage.stop is not None}


def _may_store(workflow: log.WorkflowRow, result: HandlerResult) -> bool:
    """Whether a result counts: its workflow is open, or it was this very handler that ended it."""
    return workflow.status in OPEN_STATUSES or workflow.id in result.changed_workflows


def _write(done: Sequence[Succeeded], workflows: Mapping[UUID, log.WorkflowRow]) -> list[log.StoredDelivery]:
    if not done:
        return []
    expires_at = timezone.now() + timedelta(seconds=get_settings().dedup_ttl)
    contexts = [result.context for _, result in done]
    log.mark_processed_ids([(context.message.message_id, context.agent) for context in contexts], expires_at)
    # A handler that ended its workflow may still say its last word, as a transactional one may.
    last_words = {key for _, result in done for key in result.changed_workflows}
    open_to = {
        key: replace(row, status=WorkflowStatus.RUNNING.value) if key in last_words else row
        for key, row in workflows.items()
    }
    stored = outbox.store([message for context in contexts for message in outgoing_of(context)], open_to)
    if stored.receipts:
        log.save_sequences(open_to.values())
    states = {(context.workflow_id, context.agent): context.changed_state() for context in contexts}
    log.save_states({key: state for key, state in states.items() if state is not None})
    return stored.deliveries


def _advance(done: Sequence[Succeeded], rows: Mapping[UUID, log.DeliveryRow]) -> dict[int, int]:
    mine = [rows[lease.ready.row.id] for lease, _ in done]
    advanced = {row.mailbox_id: row.position for row in mine if row.position == row.processed + 1}
    log.advance_mailboxes(advanced)
    return advanced


def _remember(done: Sequence[Succeeded], rows: Mapping[UUID, log.DeliveryRow]) -> None:
    grown: dict[int, str] = {}
    for lease, result in done:
        row = rows[lease.ready.row.id]
        known = str(labels_from(row.labels) | result.context.labels) if result.context.labels else ""
        if known and known != row.labels:
            grown[row.mailbox_id] = known
    if grown:
        log.save_mailbox_labels(grown)


def _of_running(
    advanced: Mapping[int, int],
    done: Sequence[Succeeded],
    rows: Mapping[UUID, log.DeliveryRow],
    workflows: Mapping[UUID, log.WorkflowRow],
) -> dict[int, int]:
    """Those mailboxes in which something may go on now."""
    running = {
        row.mailbox_id
        for row in (rows[lease.ready.row.id] for lease, _ in done)
        if workflows[row.workflow_id].status == WorkflowStatus.RUNNING
    }
    return {mailbox: position for mailbox, position in advanced.items() if mailbox in running}
