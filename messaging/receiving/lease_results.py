"""Storing what leased handlers left, if their token still holds."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.db import Error as DatabaseError
from django.db import transaction
from django.utils import timezone

from messaging import log
from messaging.conf import get_settings
from messaging.core.context import HandlerContext
from messaging.core.errors import NexusError
from messaging.core.outcome import Outcome
from messaging.core.services import get_services
from messaging.models import OPEN_STATUSES, Delivery, DeliveryState
from messaging.receiving import execution, settling
from messaging.receiving.batch import Settled, check_database
from messaging.receiving.running import Lease
from messaging.sending import outbox

logger = logging.getLogger("nexus.receiving")

Succeeded = tuple[Lease, HandlerContext]


def store_all(succeeded: Sequence[Succeeded], settled: Settled) -> None:
    """Store results in one transaction, or one by one where that fails.

    Raises:
        DatabaseUnavailable: call again later.
    """
    try:
        _store(succeeded, settled)
        return
    except (NexusError, DatabaseError) as error:
        if isinstance(error, DatabaseError):
            check_database(error)
        if len(succeeded) == 1:
            fail(succeeded[0][0], error, settled)
            return
        logger.info("The results of %d leased handlers could not be stored together: %s", len(succeeded), error)
    for one in succeeded:
        store_all([one], settled)


def fail(lease: Lease, error: Exception, settled: Settled) -> None:
    """Settle the failure of a handler, if its token still holds.

    Raises:
        DatabaseUnavailable: call again later.
    """
    row = lease.ready.row
    try:
        with transaction.atomic():
            log.lock_workflows([row.workflow_id], wait=True)
            ours = Delivery.objects.select_for_update(no_key=True).filter(
                pk=row.id, state=DeliveryState.LEASED, lease_token=lease.token
            )
            outcome = settling.fail(row.id, error, charged=True) if ours.exists() else _lost(lease)
    except DatabaseError as failed:
        check_database(failed)
        raise
    settled.counts[outcome] += 1


def _lost(lease: Lease) -> Outcome:
    row = lease.ready.row
    logger.warning(
        "Delivery %s to %s was taken over while its handler ran; this result is not stored.", row.id, row.agent
    )
    return Outcome.DUPLICATE


@dataclass(slots=True)
class _Sorted:
    """What is to become of results, decided from the locked rows."""

    done: list[Succeeded] = field(default_factory=list)
    cancelled: list[Succeeded] = field(default_factory=list)  # their workflow ended while the handler ran
    lost: list[Succeeded] = field(default_factory=list)


def _sort(
    succeeded: Sequence[Succeeded], rows: Mapping[UUID, log.DeliveryRow], workflows: Mapping[UUID, log.WorkflowRow]
) -> _Sorted:
    result = _Sorted()
    for lease, context in succeeded:
        row = rows.get(lease.ready.row.id)
        if row is None or row.state != DeliveryState.LEASED or row.lease_token != lease.token:
            result.lost.append((lease, context))
        elif workflows[row.workflow_id].status not in OPEN_STATUSES:
            result.cancelled.append((lease, context))
        else:
            result.done.append((lease, context))
    return result


def _store(succeeded: Sequence[Succeeded], settled: Settled) -> None:
    now = timezone.now()
    with transaction.atomic():
        log.limit_lock_wait(execution.LOCK_WAIT)
        workflows = log.lock_workflows({lease.ready.row.workflow_id for lease, _ in succeeded}, wait=True)
        rows = log.load_deliveries([lease.ready.row.id for lease, _ in succeeded])
        chosen = _sort(succeeded, rows, workflows)
        if chosen.done:
            expires_at = now + timedelta(seconds=get_settings().dedup_ttl)
            log.mark_processed_ids(
                [(context.message.message_id, context.agent) for _, context in chosen.done], expires_at
            )
        stored = outbox.store([message for _, context in chosen.done for message in context.outgoing], workflows)
        if stored.receipts:
            log.save_sequences(workflows.values())
        states = {(context.workflow_id, context.agent): context.changed_state() for _, context in chosen.done}
        get_services().save_states({key: state for key, state in states.items() if state is not None})
        _finish(chosen.done, DeliveryState.PROCESSED, now)
        _finish(chosen.cancelled, DeliveryState.CANCELLED, now)
        advanced = {
            row.mailbox_id: row.position
            for row in (rows[lease.ready.row.id] for lease, _ in chosen.done)
            if row.position == row.processed + 1
        }
        log.advance_mailboxes(advanced)
        # Only one of a mailbox runs at a time, so more would only be held again.
        released = execution.release_held(advanced, now, reach=1)
    settled.publish += stored.deliveries + released
    settled.counts[Outcome.PROCESSED] += len(chosen.done)
    settled.counts[Outcome.CANCELLED] += len(chosen.cancelled)
    for lease, _ in chosen.lost:
        settled.counts[_lost(lease)] += 1


def _finish(results: Sequence[Succeeded], state: DeliveryState, now: datetime) -> None:
    if results:
        log.settle([lease.ready.row.id for lease, _ in results], state, now)
