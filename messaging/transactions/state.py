"""The state of a saga, and what goes in and out of the engine."""

from __future__ import annotations

from typing import Any

import msgspec

from messaging.transactions.plan import PlannedStep, SagaPlan

DO, UNDO, LOCK = "do", "undo", "lock"
SETTLED = ("done", "left_out", "skipped")
TO_UNDO = ("done", "unknown")
RUNNING, COMPENSATING, PARKED, WAITING = "running", "compensating", "parked", "waiting"
AWAITING = "awaiting"
COMPLETED, COMPENSATED, FORCED = "completed", "compensated", "forced"
ENDED = (COMPLETED, COMPENSATED, FORCED)


class StepRun(msgspec.Struct):
    """How a step stands.

    Args:
        state: see the module.
        attempt: number of the last call to do it; ``undo_attempt`` to undo it.
        tries: calls since it began to be done, or undone, or an operator had it tried again.
        result: what it gave.
        error: why it failed last.
        waited: seconds for a lock.
    """

    state: str = "waiting"
    attempt: int = 0
    undo_attempt: int = 0
    tries: int = 0
    result: Any = None
    error: str = ""
    waited: float = 0.0


class SagaState(msgspec.Struct):
    """How a saga stands.

    Args:
        input: what it was started with.
        steps: by name.
        direction: running, compensating, or how it ended.
        stage: the stage it is in.
        reason: why it does not run any more.
        signals: name → the data of those that nothing has waited for yet.
    """

    input: Any
    steps: dict[str, StepRun]
    direction: str = RUNNING
    stage: int = -1
    reason: str = ""
    signals: dict[str, list[Any]] = msgspec.field(default_factory=dict)

    @property
    def status(self) -> str:
        """Its direction, or that it is parked, or waits for a person or a signal."""
        if self.direction in ENDED:
            return self.direction
        states = {run.state for run in self.steps.values()}
        if PARKED in states:
            return PARKED
        return WAITING if AWAITING in states and "doing" not in states else self.direction

    @property
    def results(self) -> dict[str, Any]:
        """Step → what it gave, of those that are done."""
        return {name: run.result for name, run in self.steps.items() if run.state == "done"}

    @property
    def results_kept(self) -> dict[str, Any]:
        """Step → what it gave, of all that gave something, also of what was undone since."""
        return {name: run.result for name, run in self.steps.items() if run.result is not None}


class StepCall(msgspec.Struct, frozen=True):
    """A participant is to do or undo a step, after a delay; or nobody is called, and a lock is asked for again then."""

    step: PlannedStep
    operation: str
    attempt: int
    delay: float


class Line(msgspec.Struct, frozen=True):
    """A line for the journal."""

    event: str
    step: str
    before: str
    after: str
    status: str
    detail: dict[str, Any]


class StepReply(msgspec.Struct, frozen=True, kw_only=True):
    """What a participant answered.

    Args:
        step, operation, attempt: of the call.
        outcome: done, failed (nothing was done), unknown (failed in its middle) or refused (it was undone before).
        result: of what is done.
        reason: of what failed.
        final: not to be tried again.
    """

    step: str
    operation: str
    attempt: int
    outcome: str
    result: Any = None
    reason: str = ""
    final: bool = False


def new_state(plan: SagaPlan, input: Any) -> SagaState:
    """The state of a saga that has not begun."""
    return SagaState(input=input, steps={name: StepRun() for name in plan.steps})
