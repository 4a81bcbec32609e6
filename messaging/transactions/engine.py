"""How a saga goes on: a state and an event make a new state, calls to participants, and lines for the journal.

No database, bus or clock is known here.

    waiting ─▶ doing ─▶ done ─▶ undoing ─▶ undone
       │         ├─▶ failed (nothing was done)   └─▶ parked ─▶ undoing | skipped
       │         ├─▶ unknown (late, or failed in its middle) ─▶ undoing
       │         ├─▶ barred (it never ran, and never will)
       │         └─▶ parked (behind the pivot) ─▶ doing | skipped
       ├─▶ awaiting (a person, a signal) ─▶ done | failed | parked
       ├─▶ locked (another saga has what it needs) ─▶ doing | failed
       └─▶ left_out (its condition was not met)          done | unknown ─▶ kept (there is no undo)
"""

from __future__ import annotations

from typing import Any

from messaging.transactions.moving import SagaMoves, reply_detail
from messaging.transactions.plan import PlannedStep, StepKind
from messaging.transactions.state import (
    AWAITING,
    DO,
    ENDED,
    FORCED,
    LOCK,
    PARKED,
    RUNNING,
    UNDO,
    StepReply,
    StepRun,
)

MAX_SIGNALS = 1_000
"""Signals that a saga keeps until something waits for them."""


class Engine(SagaMoves):
    """Moves one saga by one event. See ``SagaMoves`` for its arguments."""

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
            self.note("late_reply", reply.step, detail=reply_detail(reply))
        elif reply.operation == DO:
            self._replied_do(self._steps[reply.step], run, reply)
        else:
            self._replied_undo(self._steps[reply.step], run, reply)

    def time_out(self, name: str, operation: str, attempt: int) -> None:
        """A participant did not answer in time."""
        run, step = self.state.steps.get(name), self._steps.get(name)
        if run is None or step is None:
            return  # it was waiting, and a new plan is without it
        if operation == DO and (run.state, run.attempt) == ("doing", attempt):
            self._failed_do(step, run, "unknown", f"no reply within {step.timeout:g} s", final=False, event="timed_out")
        elif operation == UNDO and (run.state, run.undo_attempt) == ("undoing", attempt):
            self._failed_undo(step, run, f"no reply within {step.timeout:g} s", event="timed_out")
        elif operation == LOCK and (run.state, run.attempt) == ("locked", attempt):
            self._start(step, run, "started")
        elif operation == DO and (run.state, run.attempt) == (AWAITING, attempt):
            self._waited_too_long(step, run)

    def _waited_too_long(self, step: PlannedStep, run: StepRun) -> None:
        reason = f"nothing came within {step.timeout:g} s"
        match step.on_timeout:
            case "go_on":
                run.result = {"timed_out": True}
                self._set(run, step.name, "done", "timed_out", reason=reason)
                self._go_on()
            case "park":
                run.error = reason
                self._set(run, step.name, PARKED, "parked", reason=reason)
            case _:
                self._failed_do(step, run, "failed", reason, final=True, event="timed_out")

    def signal(self, name: str, data: Any) -> None:
        """Something happened that a step waits for, or one will."""
        waiting = [
            step
            for step in self._steps.values()
            if step.kind is StepKind.SIGNAL and step.signal == name and self.state.steps[step.name].state == AWAITING
        ]
        if waiting:
            run = self.state.steps[waiting[0].name]
            run.result = data
            self._set(run, waiting[0].name, "done", "signalled")
            self._go_on()
        elif self.state.direction != RUNNING:
            self.note("late_signal", detail={"signal": name})
        elif sum(map(len, self.state.signals.values())) >= MAX_SIGNALS:
            self.note("signal_refused", detail={"signal": name, "reason": f"{MAX_SIGNALS} are kept already"})
        else:
            self.state.signals.setdefault(name, []).append(data)
            self.note("signal_kept", detail={"signal": name})

    def decide(self, name: str, approved: bool, reason: str, actor: str) -> None:
        """A person approves or denies a step that waits for that."""
        run, step = self.state.steps.get(name), self._steps.get(name)
        if run is None or step is None or step.kind is not StepKind.APPROVAL or run.state != AWAITING:
            self.note("approve_refused" if approved else "deny_refused", name, detail={"reason": reason})
        elif approved:
            run.result = {"by": actor, "reason": reason}
            self._set(run, name, "done", "approved", reason=reason)
            self._go_on()
        else:
            self._failed_do(step, run, "failed", f"denied by {actor}: {reason}", final=True, event="denied")

    def cancel(self, reason: str) -> None:
        """Undo what was done, unless the pivot is behind."""
        if self.state.direction != RUNNING or self._past_pivot() or not self._bar_pivot():
            self.note("cancel_refused", detail={"reason": reason})
        else:
            self._compensate(f"cancelled: {reason}")

    def retry(self, name: str, reason: str) -> None:
        """An operator has a parked step tried again."""
        run = self.state.steps.get(name)
        if run is None or run.state != PARKED:
            self.note("retry_refused", name, detail={"reason": reason})
            return
        run.tries = 0
        self._start(self._steps[name], run, "retried", reason=reason)

    def skip(self, name: str, reason: str) -> None:
        """An operator leaves a parked step as it is."""
        run = self.state.steps.get(name)
        if run is None or run.state != PARKED:
            self.note("skip_refused", name, detail={"reason": reason})
            return
        self._set(run, name, "skipped", "skipped", reason=reason)
        self._go_on()

    def force(self, reason: str) -> None:
        """An operator ends the saga as it stands."""
        if self.state.direction not in ENDED:
            for name, run in self.state.steps.items():
                if run.state in (AWAITING, "locked") or (run.state == "doing" and self._bar(name)):
                    self._set(run, name, "barred", "barred")
            self._end(FORCED, reason)
