"""The moves of a saga: forward from stage to stage, and back. ``engine`` says which event leads to which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from messaging.transactions.plan import PlannedStep, SagaPlan, StepKind
from messaging.transactions.state import (
    AWAITING,
    COMPENSATED,
    COMPENSATING,
    COMPLETED,
    DO,
    LOCK,
    PARKED,
    RUNNING,
    SETTLED,
    TO_UNDO,
    UNDO,
    Line,
    SagaState,
    StepCall,
    StepReply,
    StepRun,
)


class SagaMoves:
    """Moves one saga.

    Args:
        plan, state: of the saga; the state is changed.
        bar: makes sure that a step never runs, if it has not run; tells whether that was so.
        lock: takes semantic locks, all or none; returns nothing, or who holds one.
        cycle: the sagas that wait for each other if this one waits for these resources too, and of which it is the
            one to give way.
    """

    def __init__(
        self,
        plan: SagaPlan,
        state: SagaState,
        bar: Callable[[str], bool],
        lock: Callable[[Sequence[str]], str],
        cycle: Callable[[Sequence[str]], Sequence[UUID]],
    ) -> None:
        self.plan = plan
        self.state = state
        self.calls: list[StepCall] = []
        self.lines: list[Line] = []
        self.stale_timers = False
        self._bar = bar
        self._lock = lock
        self._cycle = cycle
        self._steps = plan.steps

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
            for step in self.plan.stages[self.state.stage]:
                run = self.state.steps[step.name]
                if all(when.holds(self.state.input, self.state.results) for when in step.when):
                    self._start(step, run, "started")
                else:
                    self._set(run, step.name, "left_out", "left_out")
                if self.state.direction != RUNNING:
                    return
            if any(self.state.steps[step.name].state not in SETTLED for step in self.plan.stages[self.state.stage]):
                return
        self._end(COMPLETED, "")

    def _start(self, step: PlannedStep, run: StepRun, event: str, *, delay: float = 0.0, reason: str = "") -> None:
        operation = UNDO if self.state.direction == COMPENSATING else DO
        if operation == DO and step.kind is not StepKind.CALL:
            self._wait_or_pass(step, run, event, reason)
            return
        if operation == DO and step.locks and not self._take_locks(step, run):
            return
        run.tries += 1
        if operation == DO:
            run.attempt += 1
        else:
            run.undo_attempt += 1
        attempt = run.attempt if operation == DO else run.undo_attempt
        self.calls.append(StepCall(step, operation, attempt, delay))
        self._set(run, step.name, "doing" if operation == DO else "undoing", event, attempt=attempt, reason=reason)

    def _wait_or_pass(self, step: PlannedStep, run: StepRun, event: str, reason: str) -> None:
        """Begin a step for which no participant is called."""
        if step.kind is StepKind.POINT:
            self._set(run, step.name, "done", "passed")
        elif step.kind is StepKind.SIGNAL and self.state.signals.get(step.signal):
            kept = self.state.signals[step.signal]
            run.result = kept.pop(0)
            if not kept:
                del self.state.signals[step.signal]
            self._set(run, step.name, "done", "signalled")
        else:
            run.attempt += 1
            self.calls.append(StepCall(step, DO, run.attempt, 0.0))
            self._set(run, step.name, AWAITING, event, attempt=run.attempt, reason=reason)

    def _take_locks(self, step: PlannedStep, run: StepRun) -> bool:
        """Take a step's locks; where another saga holds one, ask again later, or have the step fail."""
        try:
            resources = [step.resource(template, self.state.input, self.state.results) for template in step.locks]
            refused = self._lock(sorted(set(resources)))
        except ValueError as error:
            self._failed_do(step, run, "failed", str(error), final=True, event="failed")
            return False
        if not refused:
            run.waited = 0.0
            return True
        cycle = self._cycle(resources) if step.on_conflict == "wait" else ()
        if cycle:
            names = " waits for ".join(str(saga) for saga in [*cycle, cycle[0]])
            refused = f"{refused}, and so on in a circle: {names}. The one that started last gives way"
        run.error = refused
        if step.on_conflict == "wait" and not cycle and run.waited < step.timeout:
            run.attempt += 1
            delay = min(5.0, max(0.05, step.retry_delay), step.timeout - run.waited)
            run.waited += delay
            self.calls.append(StepCall(step, LOCK, run.attempt, delay))
            if run.state != "locked":
                self._set(run, step.name, "locked", "locked", reason=refused)
        else:
            run.waited = 0.0
            event = "gave_way" if cycle else "refused_lock"
            self._failed_do(step, run, "failed", refused, final=True, event=event)
        return False

    # --- back ---

    def _compensate(self, reason: str) -> None:
        self.state.direction, self.state.reason, self.stale_timers = COMPENSATING, reason, True
        self.calls.clear()  # of this moment; none of them was sent
        self.note("compensating", detail={"reason": reason})
        for name, run in self.state.steps.items():
            if run.state in (AWAITING, "locked"):
                self._set(run, name, "barred", "barred")
            elif run.state in ("doing", "unknown"):
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
            self._set(run, step.name, "undone", "undone", **reply_detail(reply))
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
        self.note(direction, detail={"reason": reason} if reason else {})

    def _set(self, run: StepRun, name: str, state: str, event: str, **detail: Any) -> None:
        before, run.state = run.state, state
        self.lines.append(
            Line(event, name, before, state, self.state.status, {key: value for key, value in detail.items() if value})
        )

    def note(self, event: str, step: str = "", detail: dict[str, Any] | None = None) -> None:
        """Write down something that changes no step."""
        self.lines.append(Line(event, step[:100], "", "", self.state.status, detail or {}))


def reply_detail(reply: StepReply) -> dict[str, Any]:
    """What the journal says of an answer."""
    detail = {"operation": reply.operation, "attempt": reply.attempt, "outcome": reply.outcome, "reason": reply.reason}
    return {key: value for key, value in detail.items() if value}
