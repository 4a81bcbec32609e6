"""Leasing: an external agent takes what is offered to it in the log and whose turn it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from django.utils import timezone

from messaging import log
from messaging.core.context import HandlerContext
from messaging.core.errors import NexusError
from messaging.core.ids import uuid7_at
from messaging.core.registry import AgentSpec, HandlerKind
from messaging.directory.external import require_external
from messaging.gate.passage import logged_passage
from messaging.gate.receiving import admit
from messaging.models import OnceResult
from messaging.receiving.external.leases import end_of, publish, settle_failure
from messaging.receiving.handlers import make_context
from messaging.receiving.leased.claiming import claim
from messaging.receiving.ordering import Ready
from messaging.receiving.refusing import settle_stopped


@dataclass(frozen=True, slots=True)
class LeasedMessage:
    """A message that an external agent has for a while.

    Args:
        context: what a handler inside would get with it.
        token: proves the lease.
        expires_at: when it ends unless it is renewed.
        state: what the agent remembers of the workflow.
        once: results of calls that an earlier attempt made.
    """

    context: HandlerContext
    token: UUID
    expires_at: datetime
    state: Mapping[str, Any]
    once: Mapping[str, Any]


def lease(agent: str, *, limit: int, visibility: float) -> list[LeasedMessage]:
    """Lease messages whose turn it is: one of each workflow, as one at a time is handled in a mailbox. Their attempts
    are counted now, so that a message which kills whoever handles it ends as a dead letter.

    Args:
        agent: an external agent's name.
        limit: how many at most.
        visibility: seconds until the lease expires, unless it is renewed.

    Raises:
        NotExternal: there is no such external agent.
        django.db.Error: nothing was leased.
    """
    spec = require_external(agent)
    offered = log.offered_to(agent, timezone.now(), limit)
    if not offered:
        return []
    passages = [logged_passage(stored) for stored in log.load_for_publishing(offered)]
    admit(passages)
    publish(settle_stopped(passages))
    going = [passage for passage in passages if passage.stop is None]
    if not going:
        return []
    now = timezone.now()
    token = uuid7_at(now)
    until, end = now + timedelta(seconds=visibility), end_of(spec, token)
    if end is not None:
        until = min(until, end)
    claimed = claim(going, token, {}, wait=False, kind=HandlerKind.EXTERNAL, until=until)
    publish(claimed.applied)
    results = _results([item.row.id for item in claimed.starting])
    leased = []
    for item in claimed.starting:
        context = _context(spec, item, token, now)
        if context is not None:
            state = claimed.states.get((item.row.workflow_id, item.row.agent), {})
            leased.append(LeasedMessage(context, token, until, state, results.get(item.row.id, {})))
    return leased


def _context(spec: AgentSpec, item: Ready, token: UUID, now: datetime) -> HandlerContext | None:
    """What the handler gets; None where the message is not for it: that is its failure, as inside."""
    try:
        spec.check_takes(item.passage.envelope)
        return make_context(spec, item, now, load_state=dict, results=None)
    except NexusError as error:
        settle_failure(spec, item, token, error)
        return None


def _results(deliveries: list[UUID]) -> dict[UUID, dict[str, Any]]:
    found: dict[UUID, dict[str, Any]] = {}
    rows = OnceResult.objects.filter(delivery_id__in=deliveries).values_list("delivery_id", "key", "result")
    for delivery, key, result in rows:
        found.setdefault(delivery, {})[key] = msgspec.json.decode(bytes(result))
    return found
