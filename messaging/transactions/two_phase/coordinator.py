"""The agent that asks for votes and decides: an ordinary agent of the bus.

Its transaction holds the vote, the decision and what the participants are told of it together. No decision, no commit:
what is not decided in time is aborted by the relay.
"""

from __future__ import annotations

from uuid import UUID

import msgspec

from messaging.core.context import HandlerContext
from messaging.core.envelope import Envelope
from messaging.core.errors import TerminalError
from messaging.core.registry import AgentSpec
from messaging.models import BranchState, TwoPhaseBranch, TwoPhaseRun
from messaging.transactions.two_phase.naming import ABORT, BEGIN, COMMIT, COORDINATOR, PREPARE, REPLIED
from messaging.transactions.two_phase.runs import RunChange, end_workflow, lock
from messaging.transactions.two_phase.steps import ProtocolStep, reached


class BranchReply(msgspec.Struct, frozen=True, kw_only=True):
    """What a participant answers.

    Args:
        participant: its name.
        outcome: yes or no, its vote; committed, aborted or heuristic, its end.
        reason: for people.
    """

    participant: str
    outcome: str
    reason: str = ""


def handle(message: Envelope, context: HandlerContext) -> None:
    """Move a run by one message.

    Raises:
        TerminalError: there is no such run, or no such event.
    """
    run = _locked(message.workflow_id)
    if message.type == BEGIN and message.source == COORDINATOR:
        change = RunChange(run, actor=COORDINATOR, cause=message.message_id)
        if change.undecided and not change.doubt():
            reached(ProtocolStep.BEGINNING)
            _tell(run, PREPARE, context)
        change.save()
    elif message.type == REPLIED:
        _take_reply(run, message, context)
    else:
        raise TerminalError(f"{COORDINATOR} takes no {message.type!r} from {message.source!r}.")


def _locked(identifier: UUID) -> TwoPhaseRun:
    run = lock(identifier)
    if run is None:
        raise TerminalError(f"Workflow {identifier} is no two-phase commit. Start one with TwoPhase(…).start(…).")
    return run


def _take_reply(run: TwoPhaseRun, message: Envelope, context: HandlerContext) -> None:
    try:
        reply = msgspec.convert(message.data, BranchReply)
    except msgspec.ValidationError as error:
        raise TerminalError(f"{message.type} from {message.source}: {error}.") from None
    branch = run.branches.filter(name=reply.participant).first()
    if branch is None or branch.agent != message.source:
        raise TerminalError(f"{message.source!r} speaks for {reply.participant!r}, which it is not, in {run.pk}.")
    change = RunChange(run, actor=message.source, cause=message.message_id)
    match reply.outcome:
        case "yes" | "no":
            reached(ProtocolStep.VOTE_RECEIVED)
            _take_vote(change, branch, reply, context)
        case BranchState.COMMITTED | BranchState.ABORTED | BranchState.HEURISTIC:
            change.end_branch(branch, BranchState(reply.outcome), reply.reason)
        case _:
            raise TerminalError(f"{message.source!r} answers {reply.outcome!r}: yes, no, or how it ended.")
    change.save()
    end_workflow(run)


def _take_vote(change: RunChange, branch: TwoPhaseBranch, reply: BranchReply, context: HandlerContext) -> None:
    run = change.run
    change.vote(branch, yes=reply.outcome == "yes", reason=reply.reason)
    if change.doubt() or not change.undecided:
        return  # too late: the relay brings everybody to the end that was decided
    if reply.outcome == "no":
        change.decide(commit=False, reason=f"{branch.name}: {reply.reason}")
        _tell(run, ABORT, context)
    elif not run.branches.exclude(state=BranchState.PREPARED).exists():
        change.decide(commit=True)
        _tell(run, COMMIT, context)


def _tell(run: TwoPhaseRun, type: str, context: HandlerContext) -> None:
    for branch in run.branches.order_by("pk"):
        context.send(branch.agent, type, {"participant": branch.name})


TWO_PHASE_COORDINATOR = AgentSpec(name=COORDINATOR, handler=handle, description="Decides two-phase commits.")
