"""How a saga goes on: a state and an event make a new state, calls to participants, and lines for the journal.

No database, bus or clock is known here.

    waiting ─▶ doing ─▶ done ─▶ undoing ─▶ undone
       │         ├─▶ failed (nothing was done)   └─▶ parked ─▶ undoing | skipped
       │         ├─▶ unknown (late, or failed in its middle) ─▶ undoing
       │         ├─▶ barred (it never ran, and never will)
       │         └─▶ parked (behind the pivot) ─▶ doing | skipped
       └─▶ left_out (its condition was not met)          done | unknown ─▶ kept (there is no undo)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from messaging.transactions.plan import PlannedStep, SagaPlan

DO, UNDO = "do", "undo"
SETTLED = ("done", "left_out", "skipped")
TO_UNDO = ("done", "unknown")
RUNNING, COMPENSATING, PARKED = "running", "compensating", "parked"
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
    """

    state: str = "waiting"
    attempt: int = 0
    undo_attempt: int = 0
    tries: int = 0
    result: Any = None
    error: str = ""


class SagaState(msgspec.Struct):
    """How a saga stands.

    Args:
        input: what it was started with.
        steps: by name.
        direction: running, compensating, or how it ended.
        stage: the stage it is in.
        reason: why it does not run any more.
    """

    input: Any
    steps: dict[str, StepRun]
    direction: str = RUNNING
    stage: int = -1
    reason: str = ""

    @property
    def status(self) -> str:
        """Its direction, or that it is parked."""
        if self.direction not in ENDED and any(run.state == PARKED for run in self.steps.values()):
            return PARKED
        return self.direction

    @property
    def results(self) -> dict[str, Any]:
        """Step → what it gave, of those that are done."""
        return {name: run.result for name, run in self.steps.items() if run.state == "done"}


class StepCall(msgspec.Struct, frozen=True):
    """A participant is to do or undo a step, after a delay."""

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


class Engine:
    """Moves one saga by one event.

    Args:
        plan, state: of the saga; the state is changed.
        bar: makes sure that a step never runs, if it has not run; tells whether that was so.
    """

    def __init__(self, plan: SagaPlan, state: SagaState, bar: Callable[[str], bool]) -> None:
        self.plan = plan
        self.state = state
        self.calls: list[StepCall] = []
        self.lines: list[Line] = []
        self.stale_timers = False
        self._bar = bar
        self._steps = plan.steps

    # --- events ---

    def begin(self) -> None:
        """Start the first stage, unless it was cancelled before or has begun."""
        if self.state.stage < 0 and self.state.direction == RUNNING:
            self._next_stage()

    def reply(self, reply: StepReply) -> None:
        """A participant answered."""
        run = self.state.steps.get(reply.step)
        expected = "doing" if reply.operation == DO else "undoing"
        attempt = 0 if run is None else run.attempt if reply.operation == DO else run.undo_attempt
        if (
            run is None
            or self.state.direction in ENDED
            or run.state != expected
            # One that is done is done, even if it was asked again meanwhile.
            or (reply.attempt != attempt and reply.outcome != "done")
        ):
            self._note("late_reply", reply.step, detail=_detail(reply))
        elif reply.operation == DO:
            self._replied_do(self._steps[reply.step], run, reply)
        else:
            self._replied_undo(self._steps[reply.step], run, reply)

    def time_out(self, name: str, operation: str, attempt: int) -> None:
        """A participant did not answer in time."""
        run, step = self.state.steps[name], self._steps[name]
        if operation == DO and (run.state, run.attempt) == ("doing", attempt):
            self._failed_do(step, run, "unknown", f"no reply within {step.timeout:g} s", final=False, event="timed_out")
        elif operation == UNDO and (run.state, run.undo_attempt) == ("undoing", attempt):
            self._failed_undo(step, run, f"no reply within {step.timeout:g} s", event="timed_out")

    def cancel(self, reason: str) -> None:
        """Undo what was done, unless the pivot is behind."""
        if self.state.direction != RUNNING or self._past_pivot() or not self._bar_pivot():
            self._note("cancel_refused", detail={"reason": reason})
        else:
            self._compensate(f"cancelled: {reason}")

    def retry(self, name: str, reason: str) -> None:
        """An operator has a parked step tried again."""
        run = self.state.steps.get(name)
        if run is None or run.state != PARKED:
            self._note("retry_refused", name, detail={"reason": reason})
            return
        run.tries = 0
        self._start(self._steps[name], run, "retried", reason=reason)

    def skip(self, name: str, reason: str) -> None:
        """An operator leaves a parked step as it is."""
        run = self.state.steps.get(name)
        if run is None or run.state != PARKED:
            self._note("skip_refused", name, detail={"reason": reason})
            return
        self._set(run, name, "skipped", "skipped", reason=reason)
        self._go_on()

    def force(self, reason: str) -> None:
        """An operator ends the saga as it stands."""
        if self.state.direction not in ENDED:
            for name, run in self.state.steps.items():
                if run.state == "doing" and self._bar(name):
                    self._set(run, name, "barred", "barred")
            self._end(FORCED, reason)

    # --- forward ---

    def _replied_do(self, step: PlannedStep, run: StepRun, reply: StepReply) -> None:
        if reply.outcome == "done":
            run.result = reply.result
            self._set(run, step.name, "done", "done")
            self._go_on()
        else:
            outcome = "unknown" if reply.outcome == "unknown" else "failed"
            final = reply.final or reply.outcome == "refused"
            self._failed_do(step, run, outcome, reply.reason, final=final, event="failed")

    def _failed_do(
        self, step: PlannedStep, run: StepRun, outcome: str, reason: str, *, final: bool, event: str
    ) -> None:
        run.error = reason
        if not final and run.tries <= step.retries:
            self._start(step, run, event, delay=step.delay(run.tries), reason=reason)
        elif self._past_pivot() or (step.pivot and outcome == "unknown" and not self._bar(step.name)):
            self._set(run, step.name, PARKED, "parked", reason=reason)
        else:
            self._set(run, step.name, outcome, event, reason=reason)
            self._compensate(f"{step.name}: {reason}")

    def _past_pivot(self) -> bool:
        return any(step.pivot and self.state.steps[name].state == "done" for name, step in self._steps.items())

    def _bar_pivot(self) -> bool:
        """Whether no pivot may have run unseen: then nobody knows whether there is a way back."""
        return all(
            self._bar(name)
            for name, step in self._steps.items()
            if step.pivot and self.state.steps[name].state in ("doing", PARKED)
        )

    def _go_on(self) -> None:
        if self.state.direction == COMPENSATING:
            self._undo_next()
        elif all(self.state.steps[step.name].state in SETTLED for step in self.plan.stages[self.state.stage]):
            self._next_stage()

    def _next_stage(self) -> None:
        self.stale_timers = self.state.stage >= 0
        while self.state.stage + 1 < len(self.plan.stages):
            self.state.stage += 1
            begun = False
            for step in self.plan.stages[self.state.stage]:
                run = self.state.steps[step.name]
                if step.when is None or step.when.holds(self.state.input, self.state.results):
                    self._start(step, run, "started")
                    begun = True
                else:
                    self._set(run, step.name, "left_out", "left_out")
            if begun:
                return
        self._end(COMPLETED, "")

    def _start(self, step: PlannedStep, run: StepRun, event: str, *, delay: float = 0.0, reason: str = "") -> None:
        run.tries += 1
        operation = UNDO if self.state.direction == COMPENSATING else DO
        if operation == DO:
            run.attempt += 1
        else:
            run.undo_attempt += 1
        attempt = run.attempt if operation == DO else run.undo_attempt
        self.calls.append(StepCall(step, operation, attempt, delay))
        self._set(run, step.name, "doing" if operation == DO else "undoing", event, attempt=attempt, reason=reason)

    # --- back ---

    def _compensate(self, reason: str) -> None:
        self.state.direction, self.state.reason, self.stale_timers = COMPENSATING, reason, True
        self._note("compensating", detail={"reason": reason})
        for name, run in self.state.steps.items():
            if run.state in ("doing", "unknown"):
                barred = self._bar(name)
                self._set(run, name, "barred" if barred else "unknown", "barred" if barred else "may_have_run")
        self._undo_next()

    def _undo_next(self) -> None:
        """Undo the last stage of which something stands, once nothing behind it is being undone."""
        if any(run.state in ("undoing", PARKED) for run in self.state.steps.values()):
            return
        self.stale_timers = True
        for stage in reversed(self.plan.stages):
            for step in stage:
                run = self.state.steps[step.name]
                if run.state not in TO_UNDO:
                    continue
                if step.undo is None:
                    self._set(run, step.name, "kept", "kept")
                else:
                    run.tries = 0
                    self._start(step, run, "undo_started")
            if any(self.state.steps[step.name].state == "undoing" for step in stage):
                return
        self._end(COMPENSATED, self.state.reason)

    def _replied_undo(self, step: PlannedStep, run: StepRun, reply: StepReply) -> None:
        if reply.outcome == "done":
            self._set(run, step.name, "undone", "undone", **_detail(reply))
            self._go_on()
        else:
            self._failed_undo(step, run, reply.reason, event="undo_failed")

    def _failed_undo(self, step: PlannedStep, run: StepRun, reason: str, *, event: str) -> None:
        run.error = reason
        if run.tries <= step.undo_retries:
            self._start(step, run, event, delay=step.delay(run.tries), reason=reason)
        else:
            self._set(run, step.name, PARKED, "parked", reason=reason)

    # --- writing down ---

    def _end(self, direction: str, reason: str) -> None:
        self.state.direction, self.state.reason = direction, reason
        self._note(direction, detail={"reason": reason} if reason else {})

    def _set(self, run: StepRun, name: str, state: str, event: str, **detail: Any) -> None:
        before, run.state = run.state, state
        self.lines.append(
            Line(event, name, before, state, self.state.status, {key: value for key, value in detail.items() if value})
        )

    def _note(self, event: str, step: str = "", detail: dict[str, Any] | None = None) -> None:
        self.lines.append(Line(event, step[:100], "", "", self.state.status, detail or {}))


def _detail(reply: StepReply) -> dict[str, Any]:
    detail = {"operation": reply.operation, "attempt": reply.attempt, "outcome": reply.outcome, "reason": reply.reason}
    return {key: value for key, value in detail.items() if value}
