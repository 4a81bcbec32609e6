"""Sagas in memory, for the legacy mode."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.utils import timezone

from messaging.sending.bus import CommunicationBus
from messaging.transactions.hosting import LockHolder, SagaRecord, StepNote
from messaging.transactions.journal import JournalLine
from messaging.transactions.state import COMPLETED, RUNNING


class MemoryHost:
    """See ``SagaHost``.

    Args:
        bus: an in-process bus.
    """

    def __init__(self, bus: CommunicationBus) -> None:
        self._bus = weakref.ref(bus)  # which holds this, by its agents' handlers
        self._sagas: dict[UUID, SagaRecord] = {}
        self._steps: dict[tuple[UUID, str], StepNote] = {}
        self._locks: dict[str, LockHolder] = {}
        self.journal: dict[UUID, list[JournalLine]] = {}

    def atomic(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def claim(self, saga_id: UUID, step: str, state: str, attempt: int) -> StepNote | None:
        found = self._steps.get((saga_id, step))
        if found is None:
            self._steps[saga_id, step] = StepNote(state, attempt)
        return copy.deepcopy(found)

    def write(self, saga_id: UUID, step: str, note: StepNote) -> None:
        self._steps[saga_id, step] = note

    def bar(self, saga_id: UUID, step: str) -> bool:
        """Make sure that a step never runs, if it has not run."""
        found = self.claim(saga_id, step, "barred", 0)
        return found is None or found.state == "barred"

    def step_states(self, saga_id: UUID, steps: Sequence[str]) -> dict[str, str]:
        return {step: self._steps[saga_id, step].state for step in steps if (saga_id, step) in self._steps}

    def load(self, saga_id: UUID) -> SagaRecord | None:
        return self._sagas.get(saga_id)

    def insert(self, record: SagaRecord) -> None:
        self._sagas[record.id] = record
        self.save(record)

    def save(self, record: SagaRecord) -> None:
        self.journal.setdefault(record.id, []).extend(record.lines)
        record.lines.clear()

    def lock(self, saga_id: UUID, resources: Sequence[str]) -> str:
        for resource in resources:
            holder = self._locks.get(resource)
            if holder is not None and holder.saga != saga_id:
                return str(holder)
        for resource in resources:
            self._locks.setdefault(resource, LockHolder(resource, saga_id, RUNNING, timezone.now()))
        return ""

    def settle_locks(self, record: SagaRecord) -> None:
        for resource, holder in list(self._locks.items()):
            if holder.saga == record.id and record.ended:
                del self._locks[resource]
            elif holder.saga == record.id:
                self._locks[resource] = replace(holder, state=record.state.direction)

    def holder(self, resource: str) -> LockHolder | None:
        return self._locks.get(resource)

    def cancel_timers(self, saga_id: UUID) -> None:
        """Nothing: what comes late changes nothing, and ends with the workflow."""

    def end_workflow(self, record: SagaRecord) -> None:
        bus = self._bus()
        if bus is not None and record.state.direction == COMPLETED:
            bus.complete_workflow(record.id)
        elif bus is not None:
            bus.cancel_workflow(record.id, record.state.reason)
