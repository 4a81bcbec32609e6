"""Handling a batch in one transaction: processed-ID rows, handlers, outgoing messages and counters commit together."""

from __future__ import annotations

import copy
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from messaging import log
from messaging.conf import get_settings
from messaging.core.envelope import parse_envelope
from messaging.core.errors import HandlerError, NexusError
from messaging.core.messages import Outgoing
from messaging.core.outcome import Outcome
from messaging.core.registry import HandlerKind, registry
from messaging.core.services import StateKey, get_services
from messaging.directory.pausing import paused_among
from messaging.models import Delivery, DeliveryState, Queue
from messaging.receiving.handlers import find_handler, make_context
from messaging.receiving.ordering import Plan, Ready, make_plan
from messaging.receiving.pipeline import Incoming
from messaging.sending import outbox
from messaging.workflows.noticing import Noticed, noticing

logger = logging.getLogger("nexus.receiving")

SUCCESSORS_AT_ONCE = 50
"""Held deliveries of a mailbox that one transaction takes along; the rest is published again."""

LOCK_WAIT = 2.0
"""Seconds to wait for a workflow that another transaction holds."""


class HandlerFailed(NexusError):
    """A handler raised; the transaction was rolled back.

    Args:
        ready: the delivery it was handling.
        error: what it raised.
    """

    def __init__(self, ready: Ready, error: Exception) -> None:
        super().__init__(f"{ready.row.agent}: {error!r}")
        self.ready = ready
        self.error = error


class BatchSpoilt(NexusError):
    """These deliveries cannot be handled together; everything is rolled back, and each is handled alone."""


@dataclass(slots=True)
class Handled:
    """What a committed transaction did.

    Args:
        counts: how many deliveries had which outcome.
        busy: deliveries whose workflow another transaction holds; nothing happened to them.
        unknown: deliveries that the log does not have.
        publish: what is to be published now.
    """

    counts: Counter[Outcome] = field(default_factory=Counter)
    busy: list[Incoming] = field(default_factory=list)
    unknown: list[Incoming] = field(default_factory=list)
    publish: list[log.StoredDelivery] = field(default_factory=list)


def run_handler(ready: Ready, now: datetime, states: dict[StateKey, dict[str, Any]]) -> list[Outgoing]:
    """Call the agent's handler; return what it sends.

    Args:
        ready: the delivery that it is to handle.
        now: the current time.
        states: what the transaction's handlers changed so far; a changed state is added.

    Raises:
        HandlerFailed: it raised, or this process does not know the agent.
    """
    row, envelope = ready.row, ready.incoming.envelope
    key = (row.workflow_id, row.agent)
    try:
        context = make_context(
            find_handler(row.agent, envelope), ready, now, load_state=lambda: _load_state(key, states), results=None
        )
        registry.require(row.agent).handler(envelope, context)
        changed = context.changed_state()
    except SystemExit as error:  # it would end the consumer's thread, in every process that gets this message
        raise HandlerFailed(ready, HandlerError(f"The handler tried to end its process: {error!r}")) from error
    except Exception as error:  # whatever a handler raises has one destination: the failure's outcome
        raise HandlerFailed(ready, error) from error
    if changed is not None:
        states[key] = changed
    return context.outgoing


def _load_state(key: StateKey, states: dict[StateKey, dict[str, Any]]) -> dict[str, Any]:
    """A state as the message before left it: earlier in this transaction, or in the database."""
    found = states[key] if key in states else get_services().load_states([key]).get(key, {})
    return copy.deepcopy(found)


def _handle_all(
    ready: Sequence[Ready],
    counts: Counter[Outcome],
    now: datetime,
    states: dict[StateKey, dict[str, Any]],
    noticed: Noticed,
) -> list[Outgoing]:
    pairs = [(item.incoming.envelope.message_id, item.row.agent) for item in ready]
    new = log.mark_processed_ids(pairs, now + timedelta(seconds=get_settings().dedup_ttl))
    outgoing: list[Outgoing] = []
    for item, pair in zip(ready, pairs, strict=True):
        if pair in new:
            outgoing += run_handler(item, now, states)
            counts[Outcome.PROCESSED] += 1
            if item.row.workflow_id in noticed.status_changed and len(ready) > 1:
                # What follows in this batch may be meant to stop; alone, each sees the status that it has now.
                raise BatchSpoilt(f"{item.row.agent} changed the status of workflow {item.row.workflow_id}.")
        else:
            counts[Outcome.DUPLICATE] += 1
    return outgoing


def load_successors(plan: Plan, reach: int) -> list[Incoming]:
    """Held deliveries whose turn has come."""
    found = log.held_successors(plan.with_backlog(), reach)
    stored = (
        {item.id: item for item in log.load_for_publishing([identifier for identifier, _, _ in found])} if found else {}
    )
    limit = get_settings().max_message_bytes
    return [
        Incoming(None, identifier, parse_envelope(stored[identifier].body, max_bytes=limit))
        for identifier, _, _ in found
    ]


def release_held(
    mailboxes: dict[int, int], now: datetime, *, reach: int = SUCCESSORS_AT_ONCE
) -> list[log.StoredDelivery]:
    """Make held deliveries whose turn has come PENDING; return them for publishing.

    Args:
        mailboxes: mailbox id → the position up to which everything is done.
        now: the current time.
        reach: how many of a mailbox at most.
    """
    found = log.held_successors(mailboxes, reach)
    if not found:
        return []
    ids = [identifier for identifier, _, _ in found]
    log.reschedule(ids, DeliveryState.PENDING, now + timedelta(seconds=get_settings().publish_grace))
    return log.load_for_publishing(ids)


def apply_settled(settled: Iterable[tuple[UUID, Outcome]], now: datetime) -> None:
    """Write the outcomes that need no handler."""
    by_outcome: dict[Outcome, list[UUID]] = {}
    for identifier, outcome in settled:
        by_outcome.setdefault(outcome, []).append(identifier)
    if held := by_outcome.get(Outcome.HELD):
        log.reschedule(held, DeliveryState.HELD, now + timedelta(seconds=get_settings().gap_timeout))
    if cancelled := by_outcome.get(Outcome.CANCELLED):
        log.settle(cancelled, DeliveryState.CANCELLED, now)
    if expired := by_outcome.get(Outcome.EXPIRED):
        log.settle(expired, DeliveryState.EXPIRED, now)


def plan_batch(
    batch: Sequence[Incoming], now: datetime, *, wait: bool, kind: HandlerKind
) -> tuple[Plan, dict[UUID, log.WorkflowRow]]:
    """Lock the workflows of a batch and sort it out. Call inside a transaction.

    Args:
        batch: what was received.
        now: the current time.
        wait: wait for workflows that another transaction holds; otherwise they come back as busy.
        kind: which agents the caller can handle. What was sent to one of another kind, before the agent was changed,
            goes to the other queue.
    """
    if wait:
        log.limit_lock_wait(LOCK_WAIT)
    workflows = log.lock_workflows({incoming.envelope.workflow_id for incoming in batch}, wait=wait)
    deliveries = log.load_deliveries({incoming.delivery_id for incoming in batch}) if workflows else {}
    agents = {row.agent for row in deliveries.values()}
    elsewhere = {agent for agent in agents if (spec := registry.get(agent)) is not None and spec.kind is not kind}
    plan = make_plan(batch, workflows, deliveries, now, waited=wait, paused=paused_among(agents), elsewhere=elsewhere)
    if plan.elsewhere:
        other = Queue.QUICK if kind is HandlerKind.LEASED else Queue.LEASED
        Delivery.objects.filter(pk__in=plan.elsewhere).update(
            queue=other, state=DeliveryState.PENDING, available_at=now
        )
    return plan, workflows


def handle(batch: Sequence[Incoming], *, wait: bool, with_successors: bool = True) -> Handled:
    """Handle a batch in one transaction.

    Args:
        batch: deliveries of transactional agents.
        wait: wait for workflows that another transaction holds; otherwise they come back as busy.
        with_successors: handle held deliveries whose turn comes in the same transaction; otherwise publish them again.

    Raises:
        HandlerFailed: a handler raised; everything is rolled back.
        BatchSpoilt: handle them one by one; everything is rolled back.
        NexusError: something sent by a handler was refused; everything is rolled back.
        django.db.Error: the database failed; everything is rolled back.
    """
    handled = Handled()
    now = timezone.now()
    states: dict[StateKey, dict[str, Any]] = {}
    with transaction.atomic():
        plan, workflows = plan_batch(batch, now, wait=wait, kind=HandlerKind.TRANSACTIONAL)
        handled.busy, handled.unknown = plan.busy, plan.unknown
        counter_before = {key: workflow.sequence for key, workflow in workflows.items()}
        outgoing: list[Outgoing] = []
        done: list[UUID] = []
        ready = plan.ready
        with noticing() as noticed:
            while ready:
                outgoing += _handle_all(ready, handled.counts, now, states, noticed)
                done += [item.row.id for item in ready]
                ready = []
                if with_successors and len(done) < 2 * get_settings().batch_size:
                    ready = _successors(plan, workflows, now)
        if outgoing and not noticed.sent_in.isdisjoint(workflows):
            for key, current in log.lock_workflows(noticed.sent_in & workflows.keys(), wait=True).items():
                counter_before[key] = workflows[key].sequence = current.sequence
        if outgoing:
            handled.publish = outbox.store(outgoing, workflows).deliveries
            log.save_sequences(w for key, w in workflows.items() if w.sequence != counter_before[key])
        if states:
            get_services().save_states(states)
        if plan.advanced():
            log.advance_mailboxes(plan.advanced())
        if done:
            log.settle(done, DeliveryState.PROCESSED, now)
        if plan.settled:
            apply_settled(plan.settled.items(), now)
            handled.counts.update(plan.settled.values())
        handled.counts[Outcome.DUPLICATE] += plan.copies
        handled.counts[Outcome.RETRY] += len(plan.elsewhere)
        if plan.with_backlog():
            handled.publish += release_held(plan.with_backlog(), now)
    return handled


def _successors(plan: Plan, workflows: dict[UUID, log.WorkflowRow], now: datetime) -> list[Ready]:
    """Held deliveries whose turn has come, as the next round of the same transaction."""
    waiting = [
        incoming for incoming in load_successors(plan, SUCCESSORS_AT_ONCE) if incoming.delivery_id not in plan.settled
    ]
    if not waiting:
        return []
    rows = log.load_deliveries({incoming.delivery_id for incoming in waiting})
    following = Plan(mailboxes=plan.mailboxes, settled=plan.settled)
    for incoming in waiting:
        row = rows[incoming.delivery_id]
        following.take_turn(incoming, row, now, workflows[row.workflow_id].deadline_at)
    return following.ready
