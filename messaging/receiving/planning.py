"""Locking the workflows of a batch and sorting it out, and letting go what waited behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from uuid import UUID

from messaging import log
from messaging.conf import get_settings
from messaging.core.outcome import Outcome
from messaging.core.registry import HandlerKind
from messaging.directory.names import kind_elsewhere
from messaging.directory.pausing import paused_among
from messaging.gate.passage import Passage, Stop, logged_passage
from messaging.gate.receiving import admit_again, admit_in_transaction
from messaging.models import DeadReason, DeliveryState
from messaging.outcomes import Decision
from messaging.receiving.ordering import Plan, Ready, make_plan
from messaging.receiving.refusing import decide_logged, decide_stopped, reject
from messaging.security.access.holding import holding

SUCCESSORS_AT_ONCE = 50
"""Held deliveries of a mailbox that one transaction takes along; the rest is published again."""

LOCK_WAIT = 0.4
"""Seconds that a transaction which holds workflows waits for any lock.

With the time that a batch takes it stays below PostgreSQL's deadlock_timeout, 1 s: a view that holds a row and waits
for the workflow never finds a deadlock, because the handler that wants the row has given way by then.
"""

SHORT_LOCK_WAIT = 0.05
"""The same, once a handler of the batch lost a lock: a hundred that want the same row do not wait one after another."""


def open_batch(batch: Sequence[Passage], *, wait: bool, lock_wait: float) -> log.OpenedBatch:
    """Lock the workflows of a batch and read its deliveries; the first that a transaction does.

    Args:
        batch: what passed the gate.
        wait: wait for workflows that another transaction holds.
        lock_wait: seconds that a statement of this transaction may wait for a lock.

    Raises:
        django.db.OperationalError: a lock did not come in time.
    """
    return log.open_batch(
        {passage.envelope.workflow_id for passage in batch},
        {passage.delivery_id for passage in batch},
        wait=wait,
        lock_wait=lock_wait,
    )


@contextmanager
def opening(batch: Sequence[Passage], *, wait: bool, lock_wait: float) -> Iterator[log.OpenedBatch]:
    """``open_batch``, and decide by the policy that it holds. Call it first in a transaction, and leave it last."""
    opened = open_batch(batch, wait=wait, lock_wait=lock_wait)
    with holding(opened.epoch):
        yield opened


def plan_batch(
    batch: Sequence[Passage], opened: log.OpenedBatch, now: datetime, *, waited: bool, kind: HandlerKind
) -> Plan:
    """Sort a batch out.

    Args:
        batch: what passed the gate.
        opened: what ``open_batch`` locked and read.
        now: the current time.
        waited: whether it waited for workflows; otherwise those that are missing come back as busy.
        kind: which agents the caller can handle. What was sent to one of another kind, before the agent was changed,
            goes to the other queue.
    """
    workflows, deliveries = opened.workflows, opened.deliveries
    agents = {row.agent for row in deliveries.values() if row.workflow_id in workflows}
    elsewhere = {agent: found for agent in agents if (found := kind_elsewhere(agent, kind)) is not None}
    plan = make_plan(batch, workflows, deliveries, now, waited=waited, paused=paused_among(agents), elsewhere=elsewhere)
    admit_planned(plan)
    return plan


def admit_planned(plan: Plan) -> None:
    """Ask the checks whose answer must hold until the commit."""
    for item in plan.ready:
        item.passage.agent = item.row.agent
        item.passage.remembered = plan.mailboxes[item.row.mailbox_id].labels
    if plan.ready and admit_in_transaction([item.passage for item in plan.ready]):
        plan.withdraw_stopped()
    for item in plan.ready:
        if item.passage.labels:
            plan.mailboxes[item.row.mailbox_id].labels |= item.passage.labels


def plain_decisions(plan: Plan) -> list[Decision]:
    """The decisions of a plan that need no handler."""
    expired = {row.id for row in plan.expired} - {row.id for row in plan.expired_now()}
    decisions = [
        # What expired behind a delivery that is not handled now would be a gap that nothing fills: it waits there.
        Decision(Outcome.HELD if identifier in expired else outcome, identifier)
        for identifier, outcome in plan.settled.items()
    ]
    decisions += [_decide(item, plan) for item in plan.stopped]
    decisions += [Decision(Outcome.RETRY, key, queue=kind.value) for key, kind in plan.elsewhere.items()]
    decisions += displaced_decisions(plan)
    decisions += [
        reject(
            passage,
            Stop(
                Outcome.REJECTED,
                DeadReason.UNKNOWN_DELIVERY,
                f"The log has no delivery {passage.delivery_id} in workflow {passage.envelope.workflow_id}.",
            ),
        )
        for passage in plan.unknown
    ]
    return decisions


def displaced_decisions(plan: Plan) -> list[Decision]:
    """The decisions about deliveries whose rows somebody gave another sender, agent or position."""
    return [
        decide_logged(
            passage,
            Stop(
                Outcome.DEAD,
                DeadReason.NOT_AUTHENTIC,
                f"The log has delivery {row.id} from {row.source!r} for {row.agent!r} at position {row.position}; what "
                f"was signed is from {passage.envelope.source!r}, {passage.place}. Somebody changed a row: manage.py "
                "nexus_verify shows what else differs.",
            ),
            row.agent,
        )
        for passage, row in plan.displaced
    ]


def _decide(item: Ready, plan: Plan) -> Decision:
    """What becomes of a delivery that was stopped, by where its mailbox stands at the end."""
    passage, row = item.passage, item.row
    if passage.stop is None or row.position > plan.mailboxes[row.mailbox_id].processed + 1:
        # Dead before its turn, it would be a gap that nothing fills: it waits, and is checked again then.
        return Decision(Outcome.HELD, row.id, row.agent)
    if passage.received is None:
        return decide_logged(passage, passage.stop, row.agent)
    return decide_stopped(passage, passage.stop)


def take_successors(plan: Plan, workflows: Mapping[UUID, log.WorkflowRow], now: datetime) -> list[Ready]:
    """Held deliveries whose turn has come, as the next round of the same transaction. Those that the gate stops are
    added to ``plan.stopped``.
    """
    found = log.held_successors(plan.with_backlog(), SUCCESSORS_AT_ONCE)
    known = plan.settled.keys() | {item.row.id for item in plan.stopped} | {row.id for _, row in plan.displaced}
    waiting = [identifier for identifier, _, _ in found if identifier not in known]
    if not waiting:
        return []
    passages = [logged_passage(stored) for stored in log.load_for_publishing(waiting)]
    admit_again(passages)
    rows = log.load_deliveries(waiting)
    following = Plan(mailboxes=plan.mailboxes, settled=plan.settled, expired=plan.expired, stopped=plan.stopped)
    blocked: set[int] = set()
    for passage in sorted(passages, key=lambda one: (rows[one.delivery_id].mailbox_id, rows[one.delivery_id].position)):
        row = rows[passage.delivery_id]
        if passage.stop is not None:
            plan.stopped.append(Ready(passage, row, advances=True))
            blocked.add(row.mailbox_id)  # what follows waits for an operator, or is let go by the workflow's policy
        elif passage.unjudged:
            blocked.add(row.mailbox_id)  # published again, it is judged before a transaction
        elif row.mailbox_id not in blocked:
            following.take_turn(passage, row, now, workflows[row.workflow_id].deadline_at)
    admit_planned(following)
    plan.displaced += following.displaced
    return following.ready


def release_held(
    mailboxes: Mapping[int, int], now: datetime, *, reach: int = SUCCESSORS_AT_ONCE
) -> list[log.StoredDelivery]:
    """Make held deliveries whose turn has come PENDING, and return them for publishing; offer those of external agents.

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
    return log.carried(log.load_for_publishing(ids))
