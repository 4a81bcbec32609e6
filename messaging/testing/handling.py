"""All that the test tools know of how deliveries are handled: the one file to adapt when receiving changes."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from messaging import log
from messaging.core.context import HandlerContext
from messaging.core.errors import HandlerError
from messaging.core.registry import AgentSpec, HandlerKind, registry
from messaging.directory import names, pausing
from messaging.gate.passage import logged_passage
from messaging.gate.receiving import admit
from messaging.receiving.handlers import StoredResults, find_handler, make_context
from messaging.receiving.leased.runner import LeaseRunner
from messaging.receiving.leased.running import HandlerResult, HandlerRunner, Lease
from messaging.receiving.ordering import Ready
from messaging.receiving.transactional.batch import settle_batch
from messaging.recovery.periodic import periodic_actions
from messaging.security.encryption import keys as encryption
from messaging.security.schemas.current import installed_schemas
from messaging.security.signatures import keys
from messaging.testing.calling import call_handler
from messaging.workflows import life_cycle
from messaging.workflows.noticing import Noticed, noticing

MAX_EXPIRED = 1_000


class HandlersHere(HandlerRunner):
    """Runs leased handlers at once, in the calling thread."""

    @property
    def strays(self) -> Counter[str]:
        return Counter()

    def start(self, ready: Ready, token: UUID, state: dict[str, Any], now: datetime) -> Lease:
        future: Future[HandlerResult] = Future()
        noticed = Noticed()
        try:
            spec = find_handler(ready.row.agent, ready.passage.envelope)
            context = make_context(spec, ready, now, load_state=lambda: state, results=StoredResults())
            with noticing(noticed):
                _call_leased(spec, context)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a handler raises has one destination
            future.set_exception(error)
        else:
            future.set_result(HandlerResult(context, frozenset(noticed.status_changed)))
        return Lease(ready, token, future, None)


def _call_leased(spec: AgentSpec, context: HandlerContext) -> None:
    """Call a leased handler, which has no transaction of its own: what it wrote before it failed stays.

    Only where the database itself failed is it taken back: PostgreSQL would refuse everything else in the test.

    Raises:
        HandlerError: it swallowed a database error.
    """
    if not connection.in_atomic_block:
        call_handler(spec, context)
        return
    before = transaction.savepoint()
    try:
        call_handler(spec, context)
    except BaseException:
        _take_back_if_broken(before)
        raise
    if _take_back_if_broken(before):
        raise HandlerError(
            f"The handler of {spec.name} met a database error and went on. Inside a test's transaction that cannot "
            "work: have it wrap what may fail in transaction.atomic(), or use a TransactionTestCase."
        )


def _take_back_if_broken(savepoint: str) -> bool:
    """Make the transaction usable again, and tell whether it was not."""
    if not transaction.get_rollback() and connection.is_usable():
        transaction.savepoint_commit(savepoint)
        return False
    transaction.set_rollback(False)  # first: otherwise Django lets no statement through, not even the next
    transaction.savepoint_rollback(savepoint)
    return True


def handle_delivery(identifier: UUID, agent: str) -> None:
    """Try once to handle a delivery whose turn it is; its row says what came of it."""
    passages = [logged_passage(stored) for stored in log.load_for_publishing([identifier])]
    admit(passages)
    spec = registry.get(agent)
    stopped = any(passage.stop is not None for passage in passages)
    if stopped or spec is None or spec.kind is HandlerKind.TRANSACTIONAL:
        settle_batch(passages)
        return
    leases = LeaseRunner(1)
    leases._handlers = HandlersHere(1)
    leases.claim(passages, wait=True)
    leases.settle_finished()


def paused_agents() -> frozenset[str]:
    """The agents whose pause switch is on, as the test's transaction sees it."""
    pausing.forget()
    keys.forget()
    encryption.forget()
    return frozenset(pausing.paused_agents())


def let_time_act() -> None:
    """Do what the relay does when time has passed: end overdue workflows, wake chats."""
    life_cycle.expire_overdue(MAX_EXPIRED)
    for _, action in periodic_actions().values():
        with transaction.atomic():
            action()


def forget_remembered() -> None:
    """Forget what this process remembers of a database that was rolled back since."""
    names.forget()
    pausing.forget()
    keys.forget()
    encryption.forget()
    installed_schemas.forget_stored()
