"""How runs change. Everything here happens in the transaction of the caller, who holds the run's row locked."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.utils import timezone

from messaging.core.describing import storable
from messaging.core.errors import UnknownWorkflow
from messaging.models import (
    ENDED_BRANCHES,
    OPEN_STATUSES,
    OPEN_TWO_PHASE,
    BranchState,
    TwoPhaseBranch,
    TwoPhaseRun,
    TwoPhaseStatus,
)
from messaging.transactions.database import add_lines
from messaging.transactions.journal import link
from messaging.transactions.state import Line
from messaging.transactions.two_phase.naming import incarnation
from messaging.transactions.two_phase.steps import ProtocolStep, reached
from messaging.workflows import life_cycle

MAX_REASON = 2_000


class RunChange:
    """Changes a run and its branches, with a line in the journal for each change; ``save`` stores them.

    Args:
        run: locked.
        actor: who is behind it.
        cause: the message that is handled, if any.
    """

    def __init__(self, run: TwoPhaseRun, *, actor: str, cause: UUID | None = None) -> None:
        self.run = run
        self._actor = actor
        self._cause = cause
        self._lines: list[Line] = []

    @property
    def undecided(self) -> bool:
        return self.run.status == TwoPhaseStatus.PREPARING

    def begin(self, participants: list[str]) -> None:
        """Write that it has begun."""
        self._write("begun", "", "", "", participants=participants)

    def adopt(self, xids: list[str]) -> None:
        """Write that it was forgotten, and what of it was found."""
        self._write("found", "", "", "", prepared=xids)

    def doubt(self) -> bool:
        """Where decisions may have been lost since it was started, leave it to an operator; tell whether that is so."""
        if self.undecided and self.run.incarnation != incarnation():
            self._set(
                TwoPhaseStatus.IN_DOUBT,
                "The database that keeps the decision was restored, or a replica took over, since this was started: "
                "it may have been decided.",
            )
            self._write("in_doubt", "", "", "", reason=self.run.reason)
        return self.run.status == TwoPhaseStatus.IN_DOUBT

    def vote(self, branch: TwoPhaseBranch, *, yes: bool, reason: str = "") -> None:
        """Note a vote. The first one counts."""
        if branch.state == BranchState.WAITING:
            self._move(branch, BranchState.PREPARED if yes else BranchState.REFUSED, "voted", reason)

    def decide(self, *, commit: bool, reason: str = "") -> None:
        """Write the decision, once and for all."""
        if self.run.decision:
            return
        self.run.decision = "commit" if commit else "abort"
        self._set(TwoPhaseStatus.COMMITTING if commit else TwoPhaseStatus.ABORTING, reason)
        self._write("decided", "", "", "", decision=self.run.decision, reason=reason)
        reached(ProtocolStep.DECIDING)
        transaction.on_commit(lambda: reached(ProtocolStep.DECIDED))

    def end_branch(self, branch: TwoPhaseBranch, state: BranchState, reason: str = "") -> None:
        """Note how a participant ended, and end the run with the last one."""
        if branch.state not in ENDED_BRANCHES:
            self._move(branch, state, "ended", reason)
        ends = list(self.run.branches.order_by("pk").values_list("name", "state", "reason"))
        states = {each[1] for each in ends}
        if self.run.status not in (TwoPhaseStatus.COMMITTING, TwoPhaseStatus.ABORTING) or not states <= set(
            ENDED_BRANCHES
        ):
            return
        reached(ProtocolStep.CLOSING)
        if BranchState.HEURISTIC in states:
            why = [f"{name}: {text}" for name, ended, text in ends if ended == BranchState.HEURISTIC]
            self._set(TwoPhaseStatus.HEURISTIC, f"Decided: {self.run.decision}. {' '.join(why)}")
        else:
            self._set(
                TwoPhaseStatus.COMMITTED if self.run.decision == "commit" else TwoPhaseStatus.ABORTED, self.run.reason
            )
        self._write("closed", "", "", "")

    def save(self) -> None:
        """Store the run and its new lines; end its workflow where the run has ended."""
        run = self.run
        entries = link(
            self._lines,
            workflow_id=run.pk,
            count=run.journal_count,
            head=run.journal_head,
            at=timezone.now(),
            actor=self._actor,
            cause=self._cause,
        )
        self._lines.clear()
        if not entries:
            return
        run.journal_count, run.journal_head = entries[-1].number, entries[-1].hash
        run.changed_at = timezone.now()
        run.save()
        add_lines(entries)

    def _set(self, status: TwoPhaseStatus, reason: str) -> None:
        self.run.status, self.run.reason = status, storable(reason)[:MAX_REASON]

    def _move(self, branch: TwoPhaseBranch, state: BranchState, event: str, reason: str) -> None:
        before, branch.state, branch.reason = branch.state, state, storable(reason)[:MAX_REASON]
        branch.save(update_fields=["state", "reason"])
        self._write(event, branch.name, before, state, **({"reason": branch.reason} if reason else {}))

    def _write(self, event: str, step: str, before: str, after: str, **detail: object) -> None:
        self._lines.append(Line(event, step, str(before), str(after), str(self.run.status), dict(detail)))


def lock(run: UUID) -> TwoPhaseRun | None:
    """A run, locked in the transaction that is open; None where there is none."""
    return TwoPhaseRun.objects.select_for_update(no_key=True).filter(pk=run).first()


def end_workflow(run: TwoPhaseRun) -> None:
    """End the workflow of a run that has ended. It may have been ended, or pruned, before."""
    if run.status in OPEN_TWO_PHASE:
        return
    try:
        if life_cycle.status_of(run.pk) not in OPEN_STATUSES:
            return
    except UnknownWorkflow:
        return
    if run.status == TwoPhaseStatus.COMMITTED:
        life_cycle.complete(run.pk)
    else:
        life_cycle.cancel(run.pk, f"the two-phase commit is {run.status}: {run.reason}")
