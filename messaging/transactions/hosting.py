"""Where sagas and the records of their steps are kept: in the database, or in memory for the legacy mode."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from messaging.transactions.journal import JournalLine
from messaging.transactions.plan import SagaPlan
from messaging.transactions.state import ENDED, SagaState

COORDINATOR = "nexus-sagas"
BEGIN, REPLIED, TIMED_OUT, OPERATE = "saga.begin", "saga.replied", "saga.timed_out", "saga.operate"
SIGNAL = "saga.signal"


@dataclass(slots=True)
class SagaRecord:
    """A saga as it is kept.

    Args:
        id: of the saga and its workflow.
        plan, state: see there.
        count, head: of its journal.
        lines: entries of the journal that are not stored yet.
        plan_changed: whether the plan is to be stored too.
    """

    id: UUID
    plan: SagaPlan
    state: SagaState
    count: int = 0
    head: str = ""
    lines: list[JournalLine] = field(default_factory=list)
    plan_changed: bool = False

    @property
    def ended(self) -> bool:
        return self.state.direction in ENDED


@dataclass(slots=True)
class StepNote:
    """What a participant did for a step; see ``StepRecord``."""

    state: str
    attempt: int
    result: Any = None


@dataclass(frozen=True, slots=True)
class LockHolder:
    """Who holds a semantic lock.

    Args:
        resource: what is held.
        saga: by which saga.
        state: of the saga: running, or compensating: what it did is being taken back.
        since: when it was taken.
    """

    resource: str
    saga: UUID
    state: str
    since: datetime

    def __str__(self) -> str:
        return f"{self.resource} is held by the saga {self.saga}, which is {self.state}"


class StepRecords(Protocol):
    """The one row of each step."""

    def atomic(self) -> AbstractContextManager[Any]:
        """What is written inside is taken back where the block raises."""

    def claim(self, saga_id: UUID, step: str, state: str, attempt: int) -> StepNote | None:
        """Write a step's row unless there is one; return the one that was there, or None."""

    def write(self, saga_id: UUID, step: str, note: StepNote) -> None:
        """Change a step's row."""


class SagaHost(StepRecords, Protocol):
    """Keeps sagas."""

    def bar(self, saga_id: UUID, step: str) -> bool:
        """Make sure that a step never runs, if it has not run; tell whether that was so."""

    def step_states(self, saga_id: UUID, steps: Sequence[str]) -> dict[str, str]:
        """What participants wrote down of steps."""

    def load(self, saga_id: UUID) -> SagaRecord | None:
        """A saga, for the coordinator, which is the only one to change it."""

    def insert(self, record: SagaRecord) -> None:
        """Keep a new one."""

    def save(self, record: SagaRecord) -> None:
        """Store its state and add its new lines to the journal."""

    def lock(self, saga_id: UUID, resources: Sequence[str]) -> str:
        """Have a saga hold all of these, or none; return nothing, or who holds one."""

    def settle_locks(self, record: SagaRecord) -> None:
        """Write down that the holder compensates, or free what it holds once it has ended."""

    def holder(self, resource: str) -> LockHolder | None:
        """Who holds a lock."""

    def cancel_timers(self, saga_id: UUID) -> None:
        """Forget its timeouts and what was to be called again."""

    def end_workflow(self, record: SagaRecord) -> None:
        """End the saga's workflow, as the saga ended."""
