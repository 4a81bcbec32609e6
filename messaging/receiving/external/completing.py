"""Completing: what an external agent's handler left is stored in one transaction, if its lease still holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from messaging import log
from messaging.core.context import HandlerContext
from messaging.core.errors import TransientError
from messaging.core.outcome import Outcome
from messaging.core.plain_data import encode_data
from messaging.core.registry import AgentSpec
from messaging.directory.external import require_external
from messaging.gate.passage import Passage
from messaging.gate.receiving import admit_in_transaction
from messaging.models import DeliveryState
from messaging.outcomes import Applied
from messaging.receiving.external.leases import find_passage, free_place, lease_of, lost, publish, refuse_overdue
from messaging.receiving.handlers import make_context
from messaging.receiving.leased import results
from messaging.receiving.leased.running import HandlerResult
from messaging.receiving.ordering import Ready
from messaging.receiving.planning import LOCK_WAIT, opening
from messaging.security.labels.stored import labels_from


def complete(
    agent: str,
    delivery_id: UUID,
    token: UUID,
    *,
    fill: Callable[[HandlerContext], None],
    once: Mapping[str, object],
    keep: Callable[[Outcome], None],
) -> Outcome:
    """Store what a handler outside left, as that of a handler inside would be: by the same gate, all or nothing.

    Args:
        agent: who leased it.
        delivery_id, token: of the lease.
        fill: puts what is sent and the state into the context.
        once: results of calls that are not to be repeated should the message be replayed.
        keep: called in the transaction with what becomes of the delivery.

    Returns:
        PROCESSED; CANCELLED where somebody ended the workflow, and DEAD or QUARANTINED where a check stopped the
        message meanwhile: then nothing of the result is stored.

    Raises:
        NotExternal: there is no such external agent.
        LeaseLost: the lease does not hold; nothing is stored.
        SendError, EnvelopeError, TerminalError: what is sent, or the state, cannot be; nothing is stored, and the lease
            holds on.
        TransientError: a check could not decide; call again.
        django.db.Error: nothing is stored; call again.
    """
    spec = require_external(agent)
    encoded = {key: encode_data(value) for key, value in once.items()}
    refuse_overdue(spec, delivery_id, token)
    passage, _ = find_passage(agent, delivery_id, token)
    applied = Applied()
    with transaction.atomic():
        outcome = _store(spec, passage, token, fill, applied)
        for key, result in encoded.items():
            log.save_result(delivery_id, key, result)
        keep(outcome)
    publish(applied)
    free_place(spec)
    return outcome


def _store(
    spec: AgentSpec, passage: Passage, token: UUID, fill: Callable[[HandlerContext], None], applied: Applied
) -> Outcome:
    with opening([passage], wait=True, lock_wait=LOCK_WAIT) as opened:
        row = opened.deliveries.get(passage.delivery_id)
        if row is None or row.state != DeliveryState.LEASED or row.lease_token != token:
            raise lost(passage.delivery_id, spec.name)
        passage.agent, passage.remembered = row.agent, labels_from(row.labels)
        admit_in_transaction([passage])
        ready = Ready(passage, row, advances=row.position == row.processed + 1)
        states = log.load_states({(row.workflow_id, row.agent)})
        stored = dict(states.get((row.workflow_id, row.agent), {}))
        context = make_context(spec, ready, timezone.now(), load_state=lambda: stored, results=None)
        fill(context)
        result = HandlerResult(context, frozenset())
        if not results.store([(lease_of(ready, token), result)], applied):
            raise TransientError(f"A check cannot decide about delivery {row.id} now. Call again.")
    for outcome in (Outcome.PROCESSED, Outcome.CANCELLED, Outcome.DEAD, Outcome.QUARANTINED):
        if applied.counts[outcome]:
            return outcome
    raise lost(passage.delivery_id, spec.name)
