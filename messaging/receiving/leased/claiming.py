"""Claiming: one transaction that leases the deliveries whose turn it is, and settles the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from messaging import log
from messaging.core.outcome import Outcome
from messaging.core.registry import HandlerKind
from messaging.directory.retry_policies import retry_policy
from messaging.gate.passage import Passage
from messaging.models import DeadReason
from messaging.outcomes import Applied, Decision, Failure, apply
from messaging.receiving.leased.limits import admit_by_limits
from messaging.receiving.ordering import Plan, Ready
from messaging.receiving.planning import LOCK_WAIT, opening, plain_decisions, plan_batch, release_held

LATER = timedelta(seconds=1)
"""When a replayed delivery is tried again whose mailbox is busy."""


@dataclass(slots=True)
class Claimed:
    """What a claim's transaction committed.

    Args:
        applied: its outcomes.
        busy: deliveries whose workflow another transaction holds; nothing happened to them.
        starting: leased now; their handlers are to be started.
        states: ``context.state`` of those.
    """

    applied: Applied = field(default_factory=Applied)
    busy: list[Passage] = field(default_factory=list)
    starting: list[Ready] = field(default_factory=list)
    states: Mapping[log.StateKey, dict[str, Any]] = field(default_factory=dict)


def claim(
    batch: Sequence[Passage],
    token: UUID,
    strays: Mapping[str, int],
    *,
    wait: bool,
    kind: HandlerKind = HandlerKind.LEASED,
    until: datetime | None = None,
) -> Claimed:
    """Lease deliveries of leased agents.

    Args:
        batch: deliveries that passed the gate.
        token: the fencing token of this claim.
        strays: handlers that run on here after their timeout, by agent.
        wait: wait for workflows that another transaction holds.
        kind: of the agents, leased or external.
        until: when the leases end; ``lease_seconds`` from now by default.

    Raises:
        django.db.Error: nothing was claimed.
    """
    now = timezone.now()
    with transaction.atomic(), opening(batch, wait=wait, lock_wait=LOCK_WAIT) as opened:
        plan = plan_batch(batch, opened, now, waited=wait, kind=kind)
        starting, decisions = _sort(plan, strays, now)
        decisions += [
            Decision(Outcome.LEASED, item.row.id, item.row.agent, lease=token, available_at=until) for item in starting
        ]
        states = log.load_states({(item.row.workflow_id, item.row.agent) for item in starting})
        publish = _go_past_expired(plan, now)
        applied = apply([*decisions, *plain_decisions(plan)], now)
        applied.counts[Outcome.DUPLICATE] += plan.copies
        applied.publish += publish
    return Claimed(applied, plan.busy, starting, states)


def _sort(plan: Plan, strays: Mapping[str, int], now: datetime) -> tuple[list[Ready], list[Decision]]:
    """One at a time in each mailbox: those behind the first wait until its result is stored."""
    decisions: list[Decision] = []
    first: dict[int, Ready] = {}
    for item in plan.ready:
        if first.setdefault(item.row.mailbox_id, item) is item:
            continue
        if item.advances and first[item.row.mailbox_id].advances:
            plan.settled[item.row.id] = Outcome.HELD
        else:  # the end of a replayed delivery releases nothing
            decisions.append(_later(item, now + LATER))
    unfinished = _unfinished(plan)
    for row in plan.expired:
        # Their turn comes when those before are done; settled now, they would be a gap that nothing fills.
        if row.position > unfinished.get(row.mailbox_id, row.position):
            plan.settled[row.id] = Outcome.HELD
    stopped, plan.stopped = plan.stopped, []
    for item in stopped:
        if item.row.position > unfinished.get(item.row.mailbox_id, item.row.position):
            plan.settled[item.row.id] = Outcome.HELD  # checked again when its turn has come
        else:
            plan.stopped.append(item)
    candidates = []
    for item in first.values():
        if item.row.attempts >= retry_policy(item.row.agent).max_attempts:
            failure = Failure(
                DeadReason.CRASH_LOOP, "LeaseLost", "Its lease expired or its worker died at each attempt."
            )
            decisions.append(Decision(Outcome.DEAD, item.row.id, item.row.agent, failure))
        else:
            candidates.append(item)
    admitted = admit_by_limits(candidates, strays, now)
    decisions += [_later(item, due) for item, due in admitted.later]
    for item in admitted.full:
        plan.settled[item.row.id] = Outcome.HELD
    return admitted.starting, decisions


def _later(item: Ready, due: datetime) -> Decision:
    return Decision(Outcome.RETRY, item.row.id, item.row.agent, available_at=due)


def _unfinished(plan: Plan) -> dict[int, int]:
    """Mailbox id → the position of the first delivery that is to be handled and moves the mailbox's counter on."""
    positions: dict[int, int] = {}
    for item in plan.ready:
        if item.advances:
            positions.setdefault(item.row.mailbox_id, item.row.position)
    return positions


def _go_past_expired(plan: Plan, now: datetime) -> list[log.StoredDelivery]:
    """Move mailboxes on over deliveries that expired before anything in them was ready."""
    unfinished = _unfinished(plan)
    passed = {
        mailbox: unfinished.get(mailbox, reached + 1) - 1
        for mailbox, reached in plan.advanced().items()
        if unfinished.get(mailbox, reached + 1) - 1 > plan.mailboxes[mailbox].before
    }
    log.advance_mailboxes(passed)
    return release_held({key: value for key, value in passed.items() if key not in unfinished}, now, reach=1)
