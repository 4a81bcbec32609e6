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
from datetime import timedelta
from time import monotonic
from uuid import UUID

from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.utils import timezone

from messaging.conf import get_settings
from messaging.core.registry import registry
from messaging.directory.pausing import release_places
from messaging.gate.passage import Passage
from messaging.models import Delivery, DeliveryState
from messaging.outcomes import Applied
from messaging.receiving.database import check_database
from messaging.receiving.event_loop import database_threads
from messaging.receiving.leased import results
from messaging.receiving.leased.claiming import claim
from messaging.receiving.leased.limits import limited_agents
from messaging.receiving.leased.running import HandlerRunner, Lease, timeout_error

logger = logging.getLogger("nexus.receiving")

RESULTS_AT_ONCE = 50
"""Results that one transaction stores, so that many handlers which end together hold up no transactional agent."""

MAX_RENEWALS_WITHOUT_WORK = 20
"""How often a lease is renewed whose handler has ended, while its result cannot be stored."""


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

    def claim(self, batch: Sequence[Passage], *, wait: bool) -> tuple[Applied, list[Passage]]:
        """Lease deliveries whose turn it is and start their handlers; settle the others.

        Args:
            batch: deliveries of leased agents that passed the gate.
            wait: wait for workflows that another transaction holds.

        Returns:
            What was settled, and the deliveries whose workflow another transaction holds; nothing happened to those.

        Raises:
            DatabaseUnavailable: nothing was claimed.
        """
        token, now = uuid.uuid4(), timezone.now()
        try:
            claimed = claim(batch, token, self._handlers.strays, wait=wait)
        except DatabaseError as error:
            check_database(error)
            logger.info("%d deliveries for leased agents could not be claimed yet: %s", len(batch), error)
            return Applied(), list(batch)
        for item in claimed.starting:
            state = claimed.states.get((item.row.workflow_id, item.row.agent), {})
            self._leases[item.row.id] = self._handlers.start(item, token, state, now)
        return claimed.applied, claimed.busy

    def renew(self) -> None:
        """Prolong the leases of running handlers, when a third of their time is over. Any thread may call it."""
        seconds = get_settings().lease_seconds
        if not self._leases or monotonic() - self._renewed_at < seconds / 3:
            return
        self._renewed_at = monotonic()
        leases = {key: lease for key, lease in dict(self._leases).items() if self._worth_renewing(lease)}
        tokens = {lease.token for lease in leases.values()}
        with transaction.atomic():
            ours = Delivery.objects.filter(pk__in=leases, state=DeliveryState.LEASED, lease_token__in=tokens)
            # One that is locked is being settled: it needs no lease any more, and waiting could be a deadlock.
            free = list(ours.select_for_update(no_key=True, skip_locked=True).values_list("pk", flat=True))
            Delivery.objects.filter(pk__in=free).update(available_at=timezone.now() + timedelta(seconds=seconds))

    @staticmethod
    def _worth_renewing(lease: Lease) -> bool:
        """A result that cannot be stored for long is given up: another worker may do better."""
        if not lease.future.done():
            return True
        lease.renewals += 1
        return lease.renewals <= MAX_RENEWALS_WITHOUT_WORK

    def settle_finished(self) -> Applied:
        """Store the results of handlers that are done, and give up those that passed their timeout.

        What cannot be stored now, because another transaction holds its workflow, is kept for the next call: neither
        the result nor an attempt is lost, and nobody waits.

        Raises:
            DatabaseUnavailable: call again later; results are kept meanwhile.
        """
        applied = Applied()
        succeeded, failed = self._ended()
        settled = results.store_all(succeeded, applied) if succeeded else []
        for lease, error in failed:
            if results.fail(lease, error, applied):
                settled.append(lease)
        for lease in settled:
            if not lease.future.done():
                self._handlers.abandon(lease)
            del self._leases[lease.ready.row.id]
        self._give_up_unstorable()
        for agent, limit in limited_agents(Counter(lease.ready.row.agent for lease in settled)).items():
            applied.publish += release_places(agent, limit)
        return applied

    def _give_up_unstorable(self) -> None:
        """Forget results that could not be stored for so long that their leases are not renewed any more."""
        for lease in list(self._leases.values()):
            if lease.renewals > MAX_RENEWALS_WITHOUT_WORK:
                logger.error(
                    "The result of delivery %s to %s is given up: its workflow was never free. It is handled again.",
                    lease.ready.row.id,
                    lease.ready.row.agent,
                )
                del self._leases[lease.ready.row.id]

    def _ended(self) -> tuple[list[results.Succeeded], list[tuple[Lease, BaseException]]]:
        succeeded: list[results.Succeeded] = []
        failed: list[tuple[Lease, BaseException]] = []
        for lease in self._leases.values():
            if len(succeeded) + len(failed) == RESULTS_AT_ONCE:
                break
            if lease.future.done():
                outcome = lease.outcome()
                if isinstance(outcome, BaseException):
                    failed.append((lease, outcome))
                else:
                    succeeded.append((lease, outcome))
            elif lease.expires is not None and lease.expires < monotonic():
                failed.append((lease, self._overdue(lease)))
        return succeeded, failed

    def _overdue(self, lease: Lease) -> Exception:
        spec = registry.get(lease.ready.row.agent)
        return timeout_error(lease.ready.row.agent, spec.timeout if spec is not None else None)

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
