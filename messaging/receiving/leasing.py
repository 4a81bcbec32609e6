"""Leased handlers: slow work outside any transaction, under a lease with a fencing token.

    claim (transaction) ▶ handler (a thread or the event loop, no transaction) ▶ store if the token still holds
    (transaction)

A lease that is not renewed expires; the relay makes its delivery PENDING again and another worker takes it. A worker
that was frozen meanwhile finds its token gone and cannot store its result.
"""

from __future__ import annotations

import concurrent.futures
import logging
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import Any
from uuid import UUID

from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from messaging import log
from messaging.conf import get_settings
from messaging.core.outcome import Outcome
from messaging.core.registry import HandlerKind, registry
from messaging.core.services import StateKey, get_services
from messaging.directory.pausing import release_places
from messaging.models import DeadReason, Delivery, DeliveryState
from messaging.receiving import execution, lease_results, settling
from messaging.receiving.batch import Settled, check_database
from messaging.receiving.event_loop import database_threads
from messaging.receiving.limits import Admitted, admit_by_limits, limited_agents
from messaging.receiving.ordering import Plan, Ready
from messaging.receiving.pipeline import Incoming
from messaging.receiving.running import HandlerRunner, Lease, timeout_error

logger = logging.getLogger("nexus.receiving")

RESULTS_AT_ONCE = 50
"""Results that one transaction stores, so that many handlers which end together do not hold up the quick agents."""

LATER = timedelta(seconds=1)
"""When a replayed delivery is tried again whose mailbox is busy."""


def _unfinished(plan: Plan) -> dict[int, int]:
    """Mailbox id → the position of the first delivery that is to be handled and moves the mailbox's counter on."""
    positions: dict[int, int] = {}
    for item in plan.ready:
        if item.advances:
            positions.setdefault(item.row.mailbox_id, item.row.position)
    return positions


@dataclass(slots=True)
class _Claimed:
    """What a claim's transaction decided."""

    admitted: Admitted = field(default_factory=Admitted)
    exhausted: list[Ready] = field(default_factory=list)
    counts: Counter[Outcome] = field(default_factory=Counter)
    publish: list[log.StoredDelivery] = field(default_factory=list)
    states: dict[StateKey, dict[str, Any]] = field(default_factory=dict)


class LeaseRunner:
    """Runs leased handlers of one consumer; all database work happens in the consumer's own thread.

    Args:
        concurrency: handlers at once.
    """

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._handlers = HandlerRunner(concurrency)
        self._leases: dict[UUID, Lease] = {}
        self._renewed_at = monotonic()

    @property
    def free(self) -> int:
        """How many more handlers may start here."""
        return self._concurrency - len(self._leases) - self._handlers.strays.total()

    @property
    def running(self) -> int:
        """How many handlers run here whose result is awaited."""
        return len(self._leases)

    def claim(self, batch: Sequence[Incoming], *, wait: bool) -> tuple[Settled, list[Incoming]]:
        """Lease deliveries whose turn it is and start their handlers; settle the others.

        Args:
            batch: deliveries of leased agents.
            wait: wait for workflows that another transaction holds.

        Returns:
            What was settled, and the deliveries whose workflow another transaction holds; nothing happened to those.

        Raises:
            DatabaseUnavailable: nothing was claimed.
        """
        settled = Settled()
        now = timezone.now()
        token = uuid.uuid4()
        try:
            with transaction.atomic():
                plan, _ = execution.plan_batch(batch, now, wait=wait, kind=HandlerKind.LEASED)
                claimed = self._sort(plan, now)
                self._write(plan, claimed, token, now)
        except DatabaseError as error:
            check_database(error)
            logger.info("%d deliveries for leased agents could not be claimed yet: %s", len(batch), error)
            return settled, list(batch)
        settled.counts.update(claimed.counts)
        settled.publish += claimed.publish
        for incoming in plan.unknown:
            settled.refuse(incoming, DeadReason.UNKNOWN_DELIVERY, f"The log has no delivery {incoming.delivery_id}.")
        for item in claimed.exhausted:
            detail = "Its lease expired or its worker died at each attempt."
            settled.counts[settling.bury(item.row.id, DeadReason.CRASH_LOOP, "LeaseLost", detail)] += 1
        for item in claimed.admitted.starting:
            state = claimed.states.get((item.row.workflow_id, item.row.agent), {})
            self._leases[item.row.id] = self._handlers.start(item, token, state, now)
        return settled, plan.busy

    def _sort(self, plan: Plan, now: datetime) -> _Claimed:
        """One at a time in each mailbox: those behind the first wait until its result is stored."""
        claimed = _Claimed()
        first: dict[int, Ready] = {}
        for item in plan.ready:
            if first.setdefault(item.row.mailbox_id, item) is item:
                continue
            if item.advances and first[item.row.mailbox_id].advances:
                plan.settled[item.row.id] = Outcome.HELD
            else:  # the end of a replayed delivery releases nothing
                claimed.admitted.later[item.row.id] = now + LATER
        for row in plan.expired:
            # Their turn comes when those before are done; settled now, they would be a gap that nothing fills.
            if row.position > _unfinished(plan).get(row.mailbox_id, row.position):
                plan.settled[row.id] = Outcome.HELD
        candidates = []
        for item in first.values():
            if item.row.attempts >= settling.retry_policy(item.row.agent).max_attempts:
                claimed.exhausted.append(item)
            else:
                candidates.append(item)
        admitted = admit_by_limits(candidates, self._handlers.strays, now)
        claimed.admitted.starting = admitted.starting
        claimed.admitted.later |= admitted.later
        for item in admitted.full:
            plan.settled[item.row.id] = Outcome.HELD
        return claimed

    def _write(self, plan: Plan, claimed: _Claimed, token: UUID, now: datetime) -> None:
        starting = claimed.admitted.starting
        if starting:
            Delivery.objects.filter(pk__in=[item.row.id for item in starting]).update(
                state=DeliveryState.LEASED,
                lease_token=token,
                attempts=F("attempts") + 1,
                available_at=now + timedelta(seconds=get_settings().lease_seconds),
            )
            claimed.states = get_services().load_states({(item.row.workflow_id, item.row.agent) for item in starting})
        for identifier, due in claimed.admitted.later.items():
            log.reschedule([identifier], DeliveryState.PENDING, due)
        execution.apply_settled(plan.settled.items(), now)
        claimed.publish = self._go_past_expired(plan, now)
        claimed.counts.update(plan.settled.values())
        claimed.counts[Outcome.LEASED] += len(starting)
        claimed.counts[Outcome.RETRY] += len(claimed.admitted.later) + len(plan.elsewhere)
        claimed.counts[Outcome.DUPLICATE] += plan.copies

    def _go_past_expired(self, plan: Plan, now: datetime) -> list[log.StoredDelivery]:
        """Move mailboxes on over deliveries that expired before anything in them was ready."""
        unfinished = _unfinished(plan)
        passed = {
            mailbox: unfinished.get(mailbox, reached + 1) - 1
            for mailbox, reached in plan.advanced().items()
            if unfinished.get(mailbox, reached + 1) - 1 > plan.mailboxes[mailbox].before
        }
        log.advance_mailboxes(passed)
        return execution.release_held(
            {key: value for key, value in passed.items() if key not in unfinished}, now, reach=1
        )

    def renew(self) -> None:
        """Prolong the leases of running handlers, when a third of their time is over. Any thread may call it."""
        seconds = get_settings().lease_seconds
        if not self._leases or monotonic() - self._renewed_at < seconds / 3:
            return
        self._renewed_at = monotonic()
        leases = dict(self._leases)
        tokens = {lease.token for lease in leases.values()}
        with transaction.atomic():
            ours = Delivery.objects.filter(pk__in=leases, state=DeliveryState.LEASED, lease_token__in=tokens)
            # One that is locked is being settled: it needs no lease any more, and waiting could be a deadlock.
            free = list(ours.select_for_update(no_key=True, skip_locked=True).values_list("pk", flat=True))
            Delivery.objects.filter(pk__in=free).update(available_at=timezone.now() + timedelta(seconds=seconds))

    def settle_finished(self) -> Settled:
        """Store the results of handlers that are done, and give up those that passed their timeout.

        Raises:
            DatabaseUnavailable: call again later; results are kept meanwhile.
        """
        settled = Settled()
        succeeded: list[lease_results.Succeeded] = []
        failed: list[tuple[Lease, Exception]] = []
        for lease in self._leases.values():
            if len(succeeded) + len(failed) == RESULTS_AT_ONCE:
                break
            if lease.future.done():
                outcome = lease.outcome()
                if isinstance(outcome, Exception):
                    failed.append((lease, outcome))
                else:
                    succeeded.append((lease, outcome))
            elif lease.expires is not None and lease.expires < monotonic():
                failed.append((lease, self._overdue(lease)))
        if succeeded:
            lease_results.store_all(succeeded, settled)
            self._forget([lease for lease, _ in succeeded])
        for lease, error in failed:
            lease_results.fail(lease, error, settled)
            if not lease.future.done():
                self._handlers.abandon(lease)
            self._forget([lease])
        ended = Counter(lease.ready.row.agent for lease, _ in [*succeeded, *failed])
        for agent, limit in limited_agents(ended).items():
            settled.publish += release_places(agent, limit)
        return settled

    def _overdue(self, lease: Lease) -> Exception:
        spec = registry.get(lease.ready.row.agent)
        return timeout_error(lease.ready.row.agent, spec.timeout if spec is not None else None)

    def _forget(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            del self._leases[lease.ready.row.id]

    def wait(self, timeout: float) -> None:
        """Wait until every running handler is done, at most ``timeout`` seconds. Settle them afterwards."""
        futures = [lease.future for lease in self._leases.values()]
        if concurrent.futures.wait(futures, timeout).not_done:
            logger.warning("Leased handlers still run after %g s; their leases expire and others take over.", timeout)

    def close(self) -> None:
        """Take no more work and close the connections."""
        self._handlers.close()
        database_threads.close()
        connection.close()
