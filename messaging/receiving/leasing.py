"""Leased handlers: slow work outside any transaction, under a lease with a fencing token.

    claim (transaction) ▶ handler (a thread, no transaction) ▶ commit if the token still holds (transaction)

A lease that is not renewed expires; the relay makes its delivery PENDING again and another worker takes it. A worker
that was frozen meanwhile finds its token gone and cannot store its result.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import uuid
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from uuid import UUID

from django.db import Error as DatabaseError
from django.db import close_old_connections, connection, transaction
from django.db.models import F
from django.utils import timezone

from messaging.conf import get_settings
from messaging.core.context import HandlerContext
from messaging.core.errors import LeaseLost, NexusError, UnknownAgent
from messaging.core.messages import Outgoing
from messaging.core.outcome import Outcome
from messaging.core.registry import registry
from messaging.models import DeadReason, Delivery, DeliveryState, log
from messaging.receiving import execution, settling
from messaging.receiving.batch import Settled, check_database
from messaging.receiving.ordering import Ready
from messaging.receiving.pipeline import Incoming
from messaging.sending import outbox

logger = logging.getLogger("nexus.receiving")


@dataclass(slots=True)
class Lease:
    """A claimed delivery while its handler runs."""

    ready: Ready
    token: UUID
    future: Future[list[Outgoing]]


def _call(ready: Ready) -> list[Outgoing]:
    row = ready.row
    spec = registry.get(row.agent)
    if spec is None:
        raise UnknownAgent(
            f"This worker has no agent {row.agent!r}. Add the module that registers it to NEXUS_AGENTS, or deploy it."
        )
    envelope = ready.incoming.envelope
    context = HandlerContext(message=envelope, agent=row.agent, delivery_id=row.id, attempt=row.attempts + 1)
    try:
        result = spec.handler(envelope, context)
        if inspect.iscoroutine(result):
            asyncio.run(result)
    finally:
        close_old_connections()
    return context.outgoing


class LeaseRunner:
    """Runs leased handlers of one consumer; all database work happens in the consumer's own thread.

    Args:
        concurrency: handlers at once.
    """

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._executor = ThreadPoolExecutor(concurrency, thread_name_prefix="nexus-leased")
        self._leases: dict[UUID, Lease] = {}
        self._renewed_at = monotonic()

    @property
    def free(self) -> int:
        return self._concurrency - len(self._leases)

    @property
    def running(self) -> int:
        return len(self._leases)

    def claim(self, batch: Sequence[Incoming]) -> Settled:
        """Lease deliveries whose turn it is and start their handlers; settle the others.

        Raises:
            django.db.Error: nothing was claimed.
        """
        settled = Settled()
        now = timezone.now()
        token = uuid.uuid4()
        with transaction.atomic():
            plan, _ = execution.plan_batch(batch, now, wait=True)
            exhausted = [
                item for item in plan.ready if item.row.attempts >= settling.retry_policy(item.row.agent).max_attempts
            ]
            starting = [item for item in plan.ready if item not in exhausted]
            # One at a time in each mailbox: those behind it wait until its result is stored.
            first = {item.row.mailbox_id: item for item in reversed(starting)}
            held = [(item.row.id, Outcome.HELD) for item in starting if first[item.row.mailbox_id] is not item]
            starting = list(first.values())
            Delivery.objects.filter(pk__in=[item.row.id for item in starting]).update(
                state=DeliveryState.LEASED,
                lease_token=token,
                attempts=F("attempts") + 1,
                available_at=now + timedelta(seconds=get_settings().lease_seconds),
            )
            execution.apply_settled([*plan.settled.items(), *held], now)
        settled.counts.update(plan.settled.values())
        settled.counts[Outcome.LEASED] += len(starting)
        settled.counts[Outcome.HELD] += len(held)
        settled.counts[Outcome.DUPLICATE] += plan.copies
        for incoming in plan.unknown:
            settled.refuse(incoming, DeadReason.UNKNOWN_DELIVERY, f"The log has no delivery {incoming.delivery_id}.")
        for item in exhausted:
            detail = "Its lease expired or its worker died at each attempt."
            settled.counts[settling.bury(item.row.id, DeadReason.CRASH_LOOP, "LeaseLost", detail)] += 1
        for item in starting:
            self._leases[item.row.id] = Lease(item, token, self._executor.submit(_call, item))
        return settled

    def renew(self) -> None:
        """Prolong the leases of running handlers, when a third of their time is over."""
        seconds = get_settings().lease_seconds
        if not self._leases or monotonic() - self._renewed_at < seconds / 3:
            return
        self._renewed_at = monotonic()
        tokens = {lease.token for lease in self._leases.values()}
        Delivery.objects.filter(pk__in=list(self._leases), state=DeliveryState.LEASED, lease_token__in=tokens).update(
            available_at=timezone.now() + timedelta(seconds=seconds)
        )

    def settle_finished(self) -> Settled:
        """Store the results of handlers that are done.

        Raises:
            DatabaseUnavailable: call again later; results are kept meanwhile.
        """
        settled = Settled()
        for identifier, lease in list(self._leases.items()):
            if lease.future.done():
                self._settle(lease, settled)
                del self._leases[identifier]
        return settled

    def _settle(self, lease: Lease, settled: Settled) -> None:
        identifier = lease.ready.row.id
        error = lease.future.exception()
        if error is not None and not isinstance(error, Exception):
            raise error
        try:
            if error is None:
                self._commit(lease, lease.future.result(), settled)
                return
        except LeaseLost as lost:
            logger.warning("%s", lost)
            settled.counts[Outcome.DUPLICATE] += 1
            return
        except (NexusError, DatabaseError) as refused:
            if isinstance(refused, DatabaseError):
                check_database(refused)
            error = refused
        try:
            still_ours = Delivery.objects.filter(
                pk=identifier, state=DeliveryState.LEASED, lease_token=lease.token
            ).exists()
            outcome = (
                settling.fail(identifier, error, charged=True)
                if still_ours and error is not None
                else Outcome.DUPLICATE
            )
        except DatabaseError as failed:
            check_database(failed)
            raise
        settled.counts[outcome] += 1

    def _commit(self, lease: Lease, outgoing: list[Outgoing], settled: Settled) -> None:
        incoming = lease.ready.incoming
        now = timezone.now()
        with transaction.atomic():
            workflows = log.lock_workflows([incoming.envelope.workflow_id], wait=True)
            row = log.load_deliveries([incoming.delivery_id])[incoming.delivery_id]
            if row.state != DeliveryState.LEASED or row.lease_token != lease.token:
                raise LeaseLost(
                    f"Delivery {row.id} to {row.agent} was taken over while its handler ran; this result is not stored."
                )
            log.mark_processed_ids(
                [(incoming.envelope.message_id, row.agent)], now + timedelta(seconds=get_settings().dedup_ttl)
            )
            stored = outbox.store(outgoing, workflows)
            if stored.receipts:
                log.save_sequences(workflows.values())
            log.settle([row.id], DeliveryState.PROCESSED, now)
            released: list[log.StoredDelivery] = []
            if row.position == row.processed + 1:
                log.advance_mailboxes({row.mailbox_id: row.position})
                # Only one of a mailbox runs at a time, so more would only be held again.
                released = execution.release_held({row.mailbox_id: row.position}, now, reach=1)
        settled.publish += stored.deliveries + released
        settled.counts[Outcome.PROCESSED] += 1

    def wait(self, timeout: float) -> None:
        """Wait until every running handler is done, at most ``timeout`` seconds. Settle them afterwards."""
        deadline = monotonic() + timeout
        for lease in list(self._leases.values()):
            try:
                lease.future.exception(max(0.0, deadline - monotonic()))
            except TimeoutError:
                logger.warning(
                    "Leased handlers still run after %g s; their leases expire and others take over.", timeout
                )
                return

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
        connection.close()
