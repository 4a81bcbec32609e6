"""Handling a batch in one transaction: processed-ID rows, handlers, outgoing messages and counters commit together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from time import monotonic
from typing import Any
from uuid import UUID

from django.db import OperationalError, connection, transaction
from django.utils import timezone

from messaging import log
from messaging.conf import get_settings
from messaging.core.errors import NexusError
from messaging.core.message_spans import receiving
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
from messaging.receiving.transactional.onward import MAX_CALLS, take_new
from messaging.receiving.transactional.outbound import Outbound
from messaging.security.access.holding import holding
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
    batch: Sequence[Passage],
    *,
    wait: bool,
    with_successors: bool = True,
    lock_wait: float = LOCK_WAIT,
    onward: float = 0.0,
    most_calls: int | None = None,
) -> Handled:
    """Handle a batch in one transaction.

    Args:
        batch: deliveries of transactional agents that passed the gate.
        wait: wait for workflows that another transaction holds; otherwise they come back as busy.
        with_successors: handle held deliveries whose turn comes in the same transaction; otherwise publish them again.
            Without it nothing goes onward either.
        lock_wait: seconds that a statement may wait for a lock.
        onward: seconds from its beginning, for which the transaction handles what its handlers send to quick agents
            of this process, too.
        most_calls: after so many handlers it starts no further one; 1 at least.

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
            work = _Work(plan, opened, now, onward if with_successors else 0.0, most_calls)
            work.handle_all(with_successors=with_successors)
            return work.store()


class _Work:
    """The work of one transaction: calls the handlers of a plan, then writes what they left."""

    def __init__(
        self, plan: Plan, opened: log.OpenedBatch, now: datetime, onward: float, most_calls: int | None
    ) -> None:
        self._plan = plan
        self._opened = opened
        self._workflows = opened.workflows
        self._now = now
        self._started = monotonic()
        self._onward_until = self._started + onward
        self._most_calls = most_calls
        self._noticed = Noticed()
        self._decisions: list[Decision] = []
        self._outbound = Outbound(opened, self._noticed)
        self._labels: dict[int, str] = {}
        self._labels_behind = False
        self._states: dict[log.StateKey, dict[str, Any]] = {}
        self._handled: set[tuple[UUID, str]] = set()
        self._left: list[Passage] = []
        self._calls = 0
        self._statuses: dict[UUID, str] = {}
        self._new: set[UUID] = set()
        """Deliveries that this transaction makes and handles."""

    def handle_all(self, *, with_successors: bool) -> None:
        ready = self._plan.ready
        with noticing(self._noticed):
            while ready:
                self._call(ready)
                ready = self._following() if with_successors else []

    def _following(self) -> list[Ready]:
        """What the same transaction handles next: held deliveries whose turn has come, then what was just sent."""
        if self._has_enough():
            return []
        if self._calls < 2 * get_settings().batch_size:
            held = take_successors(self._plan, self._workflows, self._now)
            if held:
                return held
        return self._onward()

    def _onward(self) -> list[Ready]:
        left = self._onward_until - monotonic()
        if left <= 0 or self._calls >= MAX_CALLS:
            return []
        burst = self._outbound.make(self._plan.mailboxes)
        ready = take_new(burst, self._plan, self._opened, left)
        self._new |= {item.row.id for item in ready}
        return ready

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
                try:
                    with self._written_first():
                        outgoing = run_handler(item, self._now, self._states)
                except HandlerFailed as failure:
                    failure.calls = self._calls
                    raise
                self._outbound.take(item, outgoing)
                if item.row.id in self._new:
                    self._outbound.note_handled(item.row.id)
                self._remember(item)
                self._calls += 1
                self._decisions.append(Decision(Outcome.PROCESSED, item.row.id, item.row.agent))
            else:
                self._decisions.append(Decision(Outcome.PROCESSED, item.row.id, item.row.agent, repeated=True))

    def _remember(self, item: Ready) -> None:
        known = str(item.passage.remembered | item.passage.labels) if item.passage.labels else ""
        if known and known != item.row.labels:
            self._labels[item.row.mailbox_id] = known
            self._labels_behind = True

    def _written_first(self) -> AbstractContextManager[Any]:
        """For handlers that may look: what they were sent, and what others remember, is written before their first
        statement.
        """
        if self._outbound.is_behind or self._labels_behind:
            return connection.execute_wrapper(self._write_and_execute)
        return nullcontext()

    def _write_and_execute(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        try:
            self._outbound.write()
            if self._labels_behind:
                self._labels_behind = False
                log.save_mailbox_labels(self._labels)
        except BaseException:
            transaction.set_rollback(True)  # a handler may catch it, and go on without what is lost
            raise
        return execute(sql, params, many, context)

    def _may_go_on(self, item: Ready) -> bool:
        return self._status(item.row.workflow_id) == WorkflowStatus.RUNNING and not self._has_enough()

    def _has_enough(self) -> bool:
        """Whether it starts no further handler."""
        if not self._calls:
            return False
        return self._calls == self._most_calls or monotonic() - self._started > MAX_SECONDS

    def _status(self, workflow_id: UUID) -> str:
        """A workflow's status; read again once a handler of this transaction has changed it."""
        if workflow_id in self._noticed.status_changed:
            changed = self._noticed.status_changed & self._workflows.keys()
            self._noticed.status_changed.clear()
            self._statuses |= {key: row.status for key, row in log.lock_workflows(changed, wait=True).items()}
        return self._statuses.get(workflow_id, WorkflowStatus.RUNNING)

    def _give_back(self, item: Ready) -> None:
        self._plan.give_back(item)
        if item.row.id in self._new:
            return  # it is stored as what was sent, and published
        status = self._status(item.row.workflow_id)
        if status == WorkflowStatus.RUNNING:
            self._left.append(item.passage)
        else:
            outcome = Outcome.HELD if status in OPEN_STATUSES else Outcome.CANCELLED
            self._decisions.append(Decision(outcome, item.row.id, item.row.agent))

    def store(self) -> Handled:
        """Write everything."""
        plan = self._plan
        self._outbound.make(plan.mailboxes)
        self._outbound.check_written()
        now = timezone.now() if self._new else self._now
        if self._states:
            log.save_states(self._states)
        if self._labels:
            log.save_mailbox_labels(self._labels)
        writes = replace(
            self._outbound.writes(now),
            mailboxes=plan.advanced(),
            handled=self._handled,
            expires_at=now + timedelta(seconds=get_settings().dedup_ttl) if self._handled else None,
        )
        waiting = self._with_backlog()
        applied = apply([*self._decisions, *plain_decisions(plan)], now, writes, last=not waiting)
        applied.counts[Outcome.DUPLICATE] += plan.copies
        applied.publish += self._outbound.left
        if waiting:
            applied.publish += release_held(waiting, self._now)
        return Handled(applied, plan.busy, self._left)

    def _with_backlog(self) -> dict[int, int]:
        """Mailboxes in which something may be held whose turn has come."""
        mailboxes = self._plan.mailboxes
        return {
            key: processed
            for key, processed in self._plan.with_backlog().items()
            if self._statuses.get(mailboxes[key].workflow_id, WorkflowStatus.RUNNING) == WorkflowStatus.RUNNING
        }
