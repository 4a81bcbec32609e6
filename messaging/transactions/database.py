"""Sagas in the database. Everything here happens in the transaction of the handler that calls it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

import msgspec
from django.db import transaction
from django.utils import timezone

from messaging import log
from messaging.log import rows
from messaging.models import JournalEntry, SagaRun, SemanticLock, StepRecord, StepState
from messaging.transactions.hosting import COORDINATOR, LockHolder, SagaRecord, StepNote
from messaging.transactions.journal import JournalLine
from messaging.transactions.plan import SagaPlan
from messaging.transactions.state import COMPLETED, RUNNING, SagaState
from messaging.workflows import life_cycle

LOCK_TRIES = 3

_STEP: rows.Columns = (
    ("saga_id", "uuid"),
    ("step", "text"),
    ("state", "text"),
    ("attempt", "bigint"),
    ("result", "text"),
)
_LOCK: rows.Columns = (("resource", "text"), ("saga_id", "uuid"), ("state", "text"), ("since", "timestamptz"))
_ENTRY: rows.Columns = (
    ("workflow_id", "uuid"),
    ("number", "bigint"),
    ("at", "timestamptz"),
    ("event", "text"),
    ("step", "text"),
    ("before", "text"),
    ("after", "text"),
    ("status", "text"),
    ("actor", "text"),
    ("cause", "uuid"),
    ("detail", "text"),
    ("previous", "text"),
    ("hash", "text"),
)


class DatabaseHost:
    """See ``SagaHost``."""

    def atomic(self) -> AbstractContextManager[Any]:
        return transaction.atomic()

    def claim(self, saga_id: UUID, step: str, state: str, attempt: int) -> StepNote | None:
        new = rows.insert(
            "nexus_saga_step",
            _STEP,
            [(saga_id, step, state, attempt, "null")],
            on_conflict="ON CONFLICT (saga_id, step) DO NOTHING",
            returning="id",
        )
        if new:
            return None
        found = StepRecord.objects.values_list("state", "attempt", "result").get(saga_id=saga_id, step=step)
        return StepNote(found[0], found[1], msgspec.json.decode(found[2] or "null"))

    def write(self, saga_id: UUID, step: str, note: StepNote) -> None:
        rows.execute(
            "UPDATE nexus_saga_step SET state = %s, attempt = %s, result = %s WHERE saga_id = %s AND step = %s",
            [note.state, note.attempt, _json(note.result), saga_id, step],
        )

    def bar(self, saga_id: UUID, step: str) -> bool:
        """Make sure that a step never runs, if it has not run."""
        found = self.claim(saga_id, step, StepState.BARRED.value, 0)
        return found is None or found.state == StepState.BARRED

    def step_states(self, saga_id: UUID, steps: Sequence[str]) -> dict[str, str]:
        return dict(StepRecord.objects.filter(saga_id=saga_id, step__in=steps).values_list("step", "state"))

    def load(self, saga_id: UUID) -> SagaRecord | None:
        found = SagaRun.objects.filter(pk=saga_id).values_list("plan", "state", "journal_count", "journal_head").first()
        return None if found is None else _record(saga_id, *found)

    def insert(self, record: SagaRecord) -> None:
        now = timezone.now()
        SagaRun.objects.create(
            id=record.id,
            name=record.plan.name,
            version=record.plan.version,
            plan=_json(record.plan),
            state=_json(record.state),
            status=record.state.status,
            journal_count=record.count,
            journal_head=record.head,
            started_at=now,
            changed_at=now,
        )
        add_lines(record.lines)
        record.lines.clear()

    def save(self, record: SagaRecord) -> None:
        plan = {"plan": _json(record.plan), "version": record.plan.version} if record.plan_changed else {}
        record.plan_changed = False
        SagaRun.objects.filter(pk=record.id).update(
            **plan,
            state=_json(record.state),
            status=record.state.status,
            reason=record.state.reason,
            journal_count=record.count,
            journal_head=record.head,
            changed_at=timezone.now(),
        )
        add_lines(record.lines)
        record.lines.clear()

    def lock(self, saga_id: UUID, resources: Sequence[str]) -> str:
        """Resources come sorted, so that two sagas never wait for each other's rows."""
        for _ in range(LOCK_TRIES):
            with transaction.atomic():
                held = self._insert_locks(saga_id, resources)
                found = {lock.resource: lock for lock in SemanticLock.objects.filter(resource__in=held)} if held else {}
                other = next((lock for lock in found.values() if lock.saga_id != saga_id), None)
                if other is None and len(found) == len(held):
                    return ""
                transaction.set_rollback(True)
            if other is not None:
                return str(_holder(other))
        return f"{', '.join(resources)} changes hands all the time"  # freed between the two statements, each time

    def _insert_locks(self, saga_id: UUID, resources: Sequence[str]) -> set[str]:
        """Insert rows; return the resources that had one."""
        now = timezone.now()
        new = rows.insert(
            "nexus_lock",
            _LOCK,
            [(resource, saga_id, RUNNING, now) for resource in resources],
            on_conflict="ON CONFLICT (resource) DO NOTHING",
            returning="resource",
        )
        return set(resources) - {row[0] for row in new}

    def settle_locks(self, record: SagaRecord) -> None:
        held = SemanticLock.objects.filter(saga_id=record.id)
        if record.ended:
            held.delete()
        else:
            held.update(state=record.state.direction)

    def holder(self, resource: str) -> LockHolder | None:
        found = SemanticLock.objects.filter(resource=resource).first()
        return None if found is None else _holder(found)

    def cancel_timers(self, saga_id: UUID) -> None:
        log.cancel_timers(saga_id, source=COORDINATOR)

    def end_workflow(self, record: SagaRecord) -> None:
        if record.state.direction == COMPLETED:
            life_cycle.complete(record.id)
        else:
            life_cycle.cancel(record.id, f"the saga is {record.state.direction}: {record.state.reason}")


def _holder(lock: SemanticLock) -> LockHolder:
    return LockHolder(lock.resource, lock.saga_id, lock.state, lock.since)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _record(saga_id: UUID, plan: str, state: str, count: int, head: str) -> SagaRecord:
    return SagaRecord(
        saga_id, msgspec.json.decode(plan, type=SagaPlan), msgspec.json.decode(state, type=SagaState), count, head
    )


def add_lines(lines: Sequence[JournalLine]) -> None:
    """Add entries to the journal."""
    if lines:
        rows.insert("nexus_journal", _ENTRY, [tuple(getattr(line, name) for name, _ in _ENTRY) for line in lines])


def read_journal(saga_id: UUID) -> list[JournalLine]:
    """A saga's journal, in order."""
    return list(as_lines(JournalEntry.objects.filter(workflow_id=saga_id).order_by("number")))


def as_lines(entries: Iterable[JournalEntry]) -> Iterator[JournalLine]:
    """Entries as values."""
    for entry in entries:
        yield JournalLine(**{name: getattr(entry, name) for name, _ in _ENTRY})
