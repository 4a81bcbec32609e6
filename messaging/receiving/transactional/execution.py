"""Handling a batch in one transaction: processed-ID rows, handlers, outgoing messages and counters commit together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import Any
from uuid import UUID

from django.db import OperationalError, transaction
from django.utils import timezone

from messaging import log
from messaging.conf import get_settings
from messaging.core.errors import NexusError
from messaging.core.message_spans import receiving
from messaging.core.messages import Outgoing
from messaging.core.outcome import Outcome
from messaging.core.registry import HandlerKind
from messaging.gate.passage import Passage
from messaging.log.lock_failures import is_lock_failure
from messaging.models import OPEN_STATUSES, WorkflowStatus
from messaging.outcomes import Applied, Decision, apply
from messaging.receiving.ordering import Plan, Ready
from messaging.receiving.planning import (
    LOCK_WAIT,
    open_batch,
    plain_decisions,
    plan_batch,
    release_held,
    take_successors,
)
from messaging.receiving.transactional.calling import HandlerFailed, run_handler
from messaging.security.access.holding import holding
from messaging.sending import outbox
from messaging.workflows.noticing import Noticed, noticing

MAX_SECONDS = 0.5
"""After this long a transaction starts no further handler: it commits, so that nobody waits for its workflows.

Together with ``LOCK_WAIT`` it stays below PostgreSQL's deadlock_timeout (decision 13)."""


@dataclass(slots=True)
class Handled:
    """What a committed transaction did.

    Args:
        applied: its outcomes.
        busy: deliveries whose workflow another transaction holds; nothing happened to them.
        left: deliveries that had no time left; nothing happened to them.
    """

    applied: Applied = field(default_factory=Applied)
    busy: list[Passage] = field(default_factory=list)
    left: list[Passage] = field(default_factory=list)


class KeysChanged(NexusError):
    """The keys are others than those with which the batch was verified; nothing was done."""


class WorkflowBusy(NexusError):
    """A workflow stayed locked for as long as one may wait; nothing was done."""


def handle(
    batch: Sequence[Passage], *, wait: bool, with_successors: bool = True, lock_wait: float = LOCK_WAIT
) -> Handled:
    """Handle a batch in one transaction.

    Args:
        batch: deliveries of transactional agents that passed the gate.
        wait: wait for workflows that another transaction holds; otherwise they come back as busy.
        with_successors: handle held deliveries whose turn comes in the same transaction; otherwise publish them again.
        lock_wait: seconds that a statement may wait for a lock.

    Raises:
        KeysChanged: verify the signatures again.
        WorkflowBusy: the lock of a workflow did not come in time.
        HandlerFailed: a handler raised; everything is rolled back.
        NexusError: something sent by a handler was refused; everything is rolled back.
        django.db.Error: the database failed; everything is rolled back.
    """
    received = receiving([passage.envelope for passage in batch], HandlerKind.TRANSACTIONAL.value)
    with received, transaction.atomic():
        try:
            opened = open_batch(batch, wait=wait, lock_wait=lock_wait)
        except OperationalError as error:
            if is_lock_failure(error):
                raise WorkflowBusy(f"Its workflow, or the policy, stays locked: {str(error).strip()}") from error
            raise
        if any(passage.keys not in (None, opened.token) for passage in batch):
            raise KeysChanged("The signing keys have changed since the batch was verified. It is verified again.")
        with holding(opened.epoch):
            now = timezone.now()
            plan = plan_batch(batch, opened, now, waited=wait, kind=HandlerKind.TRANSACTIONAL)
            work = _Work(plan, opened, now)
            work.handle_all(with_successors=with_successors)
            return work.store()


class _Work:
    """The work of one transaction: calls the handlers of a plan, then writes what they left."""

    def __init__(self, plan: Plan, opened: log.OpenedBatch, now: datetime) -> None:
        self._plan = plan
        self._opened = opened
        self._workflows = opened.workflows
        self._now = now
        self._started = monotonic()
        self._noticed = Noticed()
        self._decisions: list[Decision] = []
        self._outgoing: list[Outgoing] = []
        self._labels: dict[int, str] = {}
        self._states: dict[log.StateKey, dict[str, Any]] = {}
        self._senders: list[Ready] = []
        self._handled: set[tuple[UUID, str]] = set()
        self._left: list[Passage] = []
        self._calls = 0
        self._statuses: dict[UUID, str] = {}

    def handle_all(self, *, with_successors: bool) -> None:
        ready = self._plan.ready
        with noticing(self._noticed):
            while ready:
                self._call(ready)
                ready = []
                if with_successors and not self._out_of_time() and self._calls < 2 * get_settings().batch_size:
                    ready = take_successors(self._plan, self._workflows, self._now)

    def _call(self, ready: Sequence[Ready]) -> None:
        given_back: set[int] = set()
        for item in ready:
            pair = (item.passage.envelope.message_id, item.row.agent)
            if item.row.mailbox_id in given_back or not self._may_go_on(item):
                # What follows in the same mailbox waits for this one.
                given_back.add(item.row.mailbox_id)
                self._give_back(item)
            elif not item.row.handled and pair not in self._handled:
                self._handled.add(pair)
                self._take(item, run_handler(item, self._now, self._states))
                self._remember(item)
                self._calls += 1
                self._decisions.append(Decision(Outcome.PROCESSED, item.row.id, item.row.agent))
            else:
                self._decisions.append(Decision(Outcome.PROCESSED, item.row.id, item.row.agent, repeated=True))

    def _take(self, item: Ready, outgoing: list[Outgoing]) -> None:
        if outgoing:
            self._outgoing += outgoing
            self._senders.append(item)

    def _remember(self, item: Ready) -> None:
        known = str(item.passage.remembered | item.passage.labels) if item.passage.labels else ""
        if known and known != item.row.labels:
            self._labels[item.row.mailbox_id] = known

    def _may_go_on(self, item: Ready) -> bool:
        return self._status(item.row.workflow_id) == WorkflowStatus.RUNNING and not self._out_of_time()

    def _out_of_time(self) -> bool:
        return self._calls > 0 and monotonic() - self._started > MAX_SECONDS

    def _status(self, workflow_id: UUID) -> str:
        """A workflow's status; read again once a handler of this transaction has changed it."""
        if workflow_id in self._noticed.status_changed:
            changed = self._noticed.status_changed & self._workflows.keys()
            self._noticed.status_changed.clear()
            self._statuses |= {key: row.status for key, row in log.lock_workflows(changed, wait=True).items()}
        return self._statuses.get(workflow_id, WorkflowStatus.RUNNING)

    def _give_back(self, item: Ready) -> None:
        self._plan.give_back(item)
        status = self._status(item.row.workflow_id)
        if status == WorkflowStatus.RUNNING:
            self._left.append(item.passage)
        else:
            outcome = Outcome.HELD if status in OPEN_STATUSES else Outcome.CANCELLED
            self._decisions.append(Decision(outcome, item.row.id, item.row.agent))

    def store(self) -> Handled:
        """Write everything."""
        plan = self._plan
        before = {key: workflow.sequence for key, workflow in self._workflows.items()}
        burst = self._make_outgoing(before) if self._outgoing else outbox.Burst()
        if self._states:
            log.save_states(self._states)
        if self._labels:
            log.save_mailbox_labels(self._labels)
        writes = log.BatchWrites(
            burst.messages,
            burst.delivery_rows,
            burst.sent,
            plan.advanced(),
            {key: row.sequence for key, row in self._workflows.items() if row.sequence != before[key]},
            self._handled,
            self._now + timedelta(seconds=get_settings().dedup_ttl) if self._handled else None,
        )
        waiting = self._with_backlog()
        applied = apply([*self._decisions, *plain_decisions(plan)], self._now, writes, last=not waiting)
        applied.counts[Outcome.DUPLICATE] += plan.copies
        applied.publish += burst.deliveries
        if waiting:
            applied.publish += release_held(waiting, self._now)
        return Handled(applied, plan.busy, self._left)

    def _make_outgoing(self, before: dict[UUID, int]) -> outbox.Burst:
        """Number and sign what the handlers sent.

        Args:
            before: the sequences in the database; corrected where a handler used the bus.
        """
        sent_in = self._noticed.sent_in & self._workflows.keys()
        if sent_in:  # a handler used the bus: the counters in memory are behind
            for key, current in log.lock_workflows(sent_in, wait=True).items():
                before[key] = self._workflows[key].sequence = current.sequence
        # A handler that ended its workflow may still say its last word: the rows in memory have the status from before.
        try:
            return outbox.make(self._outgoing, self._workflows, self._known_mailboxes())
        except NexusError as error:
            if len(self._senders) == 1:  # nobody else can be to blame
                raise HandlerFailed(self._senders[0], error) from error
            raise

    def _known_mailboxes(self) -> dict[tuple[UUID, str], log.MailboxRow]:
        """Mailboxes that were read under the lock of their workflow, and into which no handler has sent since."""
        known: dict[tuple[UUID, str], log.MailboxRow] = {}
        for row in self._opened.deliveries.values():
            if row.sender_mailbox is not None and row.workflow_id not in self._noticed.sent_in:
                known[row.workflow_id, row.agent] = log.MailboxRow(row.mailbox_id, row.sent, row.processed)
                known[row.workflow_id, row.source] = row.sender_mailbox
        return known

    def _with_backlog(self) -> dict[int, int]:
        """Mailboxes in which something may be held whose turn has come."""
        mailboxes = self._plan.mailboxes
        return {
            key: processed
            for key, processed in self._plan.with_backlog().items()
            if self._statuses.get(mailboxes[key].workflow_id, WorkflowStatus.RUNNING) == WorkflowStatus.RUNNING
        }
