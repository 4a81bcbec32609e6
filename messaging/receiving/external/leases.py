"""A lease of an external agent: its token, which says when it began, and its end."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from messaging import log
from messaging.core.errors import LeaseLost, TransientError
from messaging.core.ids import time_of
from messaging.core.outcome import Outcome
from messaging.core.plain_data import encode_data
from messaging.core.registry import AgentSpec
from messaging.directory.external import require_external
from messaging.directory.pausing import release_places
from messaging.gate.passage import Passage, logged_passage
from messaging.gate.receiving import admit_again
from messaging.models import Delivery, DeliveryState
from messaging.outcomes import Applied
from messaging.receiving.leased import results
from messaging.receiving.leased.running import HandlerResult, Lease, timeout_error
from messaging.receiving.ordering import Ready
from messaging.transport.background import background_publisher

TRIES, PAUSE = 20, 0.05
"""How often a failure is settled again whose workflow another transaction holds, and the seconds between."""


def lost(delivery_id: UUID, agent: str) -> LeaseLost:
    """What whoever lost a lease is told."""
    return LeaseLost(
        f"The lease on delivery {delivery_id} to {agent} does not hold: it expired, or its end was stored already. "
        "Nothing was stored; drop what you have of it."
    )


def lease_of(ready: Ready, token: UUID) -> Lease:
    """A lease whose handler ran outside, and has ended."""
    ended: Future[HandlerResult] = Future()
    return Lease(ready, token, ended, None)


def publish(applied: Applied) -> None:
    """Publish what a commit let go."""
    if applied.publish:
        background_publisher().offer(applied.publish)


def free_place(spec: AgentSpec) -> None:
    """Let go what waited for one of the agent's places, after a lease of it ended."""
    if spec.concurrency is not None:
        release_places(spec.name, spec.concurrency)


def end_of(spec: AgentSpec, token: UUID) -> datetime | None:
    """When a lease ends at the latest; None without a timeout."""
    return None if spec.timeout is None else time_of(token) + timedelta(seconds=spec.timeout)


def find_passage(agent: str, delivery_id: UUID, token: UUID) -> tuple[Passage, log.DeliveryRow]:
    """A leased delivery as the log has it, after the checks of the gate.

    Raises:
        LeaseLost: the lease does not hold.
    """
    row = log.load_deliveries([delivery_id]).get(delivery_id)
    if row is None or row.agent != agent or row.state != DeliveryState.LEASED or row.lease_token != token:
        raise lost(delivery_id, agent)
    passage = logged_passage(log.load_for_publishing([delivery_id])[0])
    admit_again([passage])
    return passage, row


def fail(agent: str, delivery_id: UUID, token: UUID, error: Exception) -> None:
    """Settle that a handler outside failed: it is tried again or becomes a dead letter, as a failure inside would.

    Args:
        agent: who leased it.
        delivery_id, token: of the lease.
        error: ``TransientError``, perhaps with ``retry_after``, or ``TerminalError``.

    Raises:
        NotExternal: there is no such external agent.
        LeaseLost: the lease does not hold.
        TransientError: its workflow stays busy; call again.
    """
    spec = require_external(agent)
    passage, row = find_passage(agent, delivery_id, token)
    settle_failure(spec, Ready(passage, row, advances=False), token, error)


def settle_failure(spec: AgentSpec, ready: Ready, token: UUID, error: Exception) -> None:
    """See ``fail``."""
    applied = Applied()
    pause = threading.Event()
    if not any(results.fail(lease_of(ready, token), error, applied) or pause.wait(PAUSE) for _ in range(TRIES)):
        raise TransientError(f"The workflow of delivery {ready.row.id} is busy. Call again.")
    if applied.counts[Outcome.DUPLICATE]:
        raise lost(ready.row.id, spec.name)
    publish(applied)
    free_place(spec)


def refuse_overdue(spec: AgentSpec, delivery_id: UUID, token: UUID) -> None:
    """Settle a lease that lasted longer than the agent's timeout as a failure.

    Raises:
        LeaseLost: it did.
    """
    end = end_of(spec, token)
    if end is None or timezone.now() < end:
        return
    passage, row = find_passage(spec.name, delivery_id, token)
    settle_failure(spec, Ready(passage, row, advances=False), token, timeout_error(spec.name, spec.timeout))
    raise lost(delivery_id, spec.name)


def renew(agent: str, delivery_id: UUID, token: UUID, *, visibility: float, once: dict[str, object]) -> datetime:
    """Prolong a lease, and keep results of calls that are not to be repeated.

    Args:
        agent: who leased it.
        delivery_id, token: of the lease.
        visibility: seconds from now, after which it expires.
        once: JSON values by key; the first value of a key is kept.

    Returns:
        When it expires now.

    Raises:
        NotExternal: there is no such external agent.
        LeaseLost: the lease does not hold.
        EnvelopeError: a result is no JSON value.
    """
    spec = require_external(agent)
    encoded = {key: encode_data(value) for key, value in once.items()}
    refuse_overdue(spec, delivery_id, token)
    until, end = timezone.now() + timedelta(seconds=visibility), end_of(spec, token)
    if end is not None:
        until = min(until, end)
    with transaction.atomic():
        held = Delivery.objects.filter(pk=delivery_id, agent=agent, state=DeliveryState.LEASED, lease_token=token)
        if not held.update(available_at=until):
            raise lost(delivery_id, agent)
        for key, result in encoded.items():
            log.save_result(delivery_id, key, result)
    return until
