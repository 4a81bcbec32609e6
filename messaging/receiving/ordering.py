"""What is to become of each delivery of a batch, decided from the locked rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

from messaging import log
from messaging.core.labels import NO_LABELS, Labels
from messaging.core.ordering import Place, turn_of
from messaging.core.outcome import Outcome
from messaging.core.registry import HandlerKind
from messaging.gate.passage import Passage
from messaging.models import FINAL_STATES, DeliveryState, WorkflowStatus
from messaging.security.labels.stored import labels_from

_OTHERS = (DeliveryState.DEAD, DeliveryState.LEASED, DeliveryState.QUARANTINED)
"""Somebody else has them: a person, or a handler."""
_STOPPED = (WorkflowStatus.PAUSED, WorkflowStatus.PARKED)


@dataclass(slots=True)
class Ready:
    """A delivery whose turn it is.

    Args:
        passage: as it passed the gate.
        row: its row in the log.
        advances: whether its mailbox's counter moves on with it.
        workflow_deadline: when its workflow expires.
    """

    passage: Passage
    row: log.DeliveryRow
    advances: bool
    workflow_deadline: datetime | None = None


@dataclass(slots=True)
class Counter:
    """A mailbox's counters while the batch is handled, and the labels of what its agent knows."""

    workflow_id: UUID
    sent: int
    before: int
    processed: int
    labels: Labels = NO_LABELS


@dataclass(slots=True)
class Plan:
    """Everything of a batch, by what becomes of it.

    Args:
        ready: to be handled, in order within each mailbox.
        settled: outcome of those that are not to be handled.
        busy: another transaction works on their workflow, or one had what their handler wants; to be tried alone.
        unknown: the log has no such delivery.
        displaced: their rows have another sender, agent or position than was signed; dead.
        elsewhere: of agents that are handled another way, with the kind that has them.
        expired: those of ``settled`` that came too late.
        stopped: whose turn it would have been, and which a check stopped.
        copies: how many further copies of its deliveries the batch had.
        mailboxes: the counters of every mailbox that the batch touches.
    """

    ready: list[Ready] = field(default_factory=list)
    settled: dict[UUID, Outcome] = field(default_factory=dict)
    busy: list[Passage] = field(default_factory=list)
    unknown: list[Passage] = field(default_factory=list)
    displaced: list[tuple[Passage, log.DeliveryRow]] = field(default_factory=list)
    elsewhere: dict[UUID, HandlerKind] = field(default_factory=dict)
    expired: list[log.DeliveryRow] = field(default_factory=list)
    stopped: list[Ready] = field(default_factory=list)
    copies: int = 0
    mailboxes: dict[int, Counter] = field(default_factory=dict)

    def take_turn(
        self, passage: Passage, row: log.DeliveryRow, now: datetime, workflow_deadline: datetime | None
    ) -> None:
        """Decide for one delivery of a running workflow; calls come in the order of positions."""
        if passage.place is not None and (*passage.place, passage.envelope.source) != (
            row.agent,
            row.position,
            row.source,
        ):
            self.displaced.append((passage, row))
            return
        counter = self.mailboxes.setdefault(
            row.mailbox_id, Counter(row.workflow_id, row.sent, row.processed, row.processed, labels_from(row.labels))
        )
        turn = turn_of(row.position, counter.processed)
        if turn is Place.EARLY:
            self.settled[row.id] = Outcome.HELD
            return
        if turn is Place.NEXT:
            counter.processed = row.position
        expiry = passage.envelope.expirytime
        if expiry is not None and expiry < now:
            self.settled[row.id] = Outcome.EXPIRED
            self.expired.append(row)
        else:
            self.ready.append(Ready(passage, row, turn is Place.NEXT, workflow_deadline))

    def give_back(self, item: Ready) -> None:
        """Take back that it was the turn of a delivery: it is not handled now, so its mailbox does not move past it."""
        if item.advances:
            counter = self.mailboxes[item.row.mailbox_id]
            counter.processed = min(counter.processed, item.row.position - 1)

    def withdraw_stopped(self) -> None:
        """Take out of ``ready`` what was stopped, and what stands behind it in its mailbox: that waits, held."""
        going: list[Ready] = []
        blocked: set[int] = set()
        for item in self.ready:
            if item.row.mailbox_id in blocked:
                self.give_back(item)
                self.settled[item.row.id] = Outcome.HELD
            elif item.passage.stop is not None:
                self.give_back(item)
                self.stopped.append(item)
                if item.advances:
                    blocked.add(item.row.mailbox_id)
            else:
                going.append(item)
        self.ready = going

    def expired_now(self) -> list[log.DeliveryRow]:
        """Those of ``expired`` whose place is reached; what stands before the others was given back."""
        return [row for row in self.expired if row.position <= self.mailboxes[row.mailbox_id].processed]

    def advanced(self) -> dict[int, int]:
        """Mailbox id → its new counter, for mailboxes that moved on."""
        return {key: c.processed for key, c in self.mailboxes.items() if c.processed != c.before}

    def with_backlog(self) -> dict[int, int]:
        """Those of ``advanced`` in which something may be held."""
        return {key: c.processed for key, c in self.mailboxes.items() if c.before != c.processed < c.sent}


def make_plan(
    batch: Sequence[Passage],
    workflows: Mapping[UUID, log.WorkflowRow],
    deliveries: Mapping[UUID, log.DeliveryRow],
    now: datetime,
    *,
    waited: bool,
    paused: Collection[str] = (),
    elsewhere: Mapping[str, HandlerKind] = MappingProxyType({}),
) -> Plan:
    """Sort a batch out.

    Args:
        batch: what was received; the same delivery may be in it twice.
        workflows: the locked workflows.
        deliveries: the rows that the log has.
        now: for expiry times.
        waited: whether locking waited; then a missing workflow does not exist, otherwise it is busy.
        paused: names of agents that take nothing for now.
        elsewhere: names of agents whose messages another kind of handler gets, and which.
    """
    plan = Plan()
    first: dict[UUID, Passage] = {}
    for passage in batch:
        row = deliveries.get(passage.delivery_id)
        if passage.envelope.workflow_id not in workflows:
            (plan.unknown if waited else plan.busy).append(passage)
        elif row is None or row.workflow_id != passage.envelope.workflow_id:
            plan.unknown.append(passage)
        elif row.id in first:
            plan.copies += 1
        else:
            first[row.id] = passage
    for row in sorted((deliveries[key] for key in first), key=lambda row: (row.mailbox_id, row.position)):
        workflow = workflows[row.workflow_id]
        status = workflow.status
        if row.state in FINAL_STATES or row.state in _OTHERS:
            plan.settled[row.id] = Outcome.DUPLICATE
        elif status in _STOPPED:
            plan.settled[row.id] = Outcome.HELD
        elif status != WorkflowStatus.RUNNING:
            plan.settled[row.id] = Outcome.CANCELLED
        elif row.agent in paused:
            plan.settled[row.id] = Outcome.HELD
        elif row.lock_losses and len(batch) > 1:
            plan.busy.append(first[row.id])
        elif row.agent in elsewhere:
            plan.elsewhere[row.id] = elsewhere[row.agent]
        else:
            plan.take_turn(first[row.id], row, now, workflow.deadline_at)
    return plan
