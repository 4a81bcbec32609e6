"""The agents that take part: one for each participant of a definition."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol
from uuid import UUID

import msgspec
import psycopg
from django.db import transaction
from django.utils import timezone
from psycopg.errors import DuplicateObject

from messaging.core.backoff import RetryPolicy
from messaging.core.context import HandlerContext
from messaging.core.describing import safe_repr
from messaging.core.envelope import Envelope
from messaging.core.errors import TerminalError, TransientError, VoteNo
from messaging.core.registry import AgentSpec, HandlerKind
from messaging.models import BranchState, TwoPhaseBranch, TwoPhaseRun, TwoPhaseStatus
from messaging.transactions.two_phase import prepared
from messaging.transactions.two_phase.naming import ABORT, COMMIT, COORDINATOR, PREPARE, REPLIED, incarnation
from messaging.transactions.two_phase.requests import BranchRequest
from messaging.transactions.two_phase.steps import ProtocolStep, reached

logger = logging.getLogger("nexus.two_phase")

RETRY = RetryPolicy(max_attempts=20, base=0.2, cap=5.0)
MAX_REASON = 2_000
MAX_NUMBERS = 400
WorkFunction = Callable[[BranchRequest], object]


class Resource(Protocol):
    """What is no database and can still keep a promise. Each method may be called again after a crash."""

    def prepare(self, request: BranchRequest) -> None:
        """Make durably sure that ``commit`` can be done, whatever happens. Raises VoteNo where it cannot."""

    def commit(self, request: BranchRequest) -> None:
        """Do what was prepared. What it raises is logged, and it is called again until it returns."""

    def abort(self, request: BranchRequest) -> None:
        """Forget what was prepared, if anything was. Likewise."""


class BranchAgent:
    """A participant.

    Args:
        agent: its name on the bus.
        name: of the participant.
        database: alias, with ``work``; or empty, with ``resource``.
        work: what it does in the transaction that is prepared.
        resource: see there.
    """

    def __init__(
        self,
        agent: str,
        name: str,
        database: str = "",
        work: WorkFunction | None = None,
        resource: Resource | None = None,
    ) -> None:
        self.name = name
        self.database = database
        self._work = work
        self._resource = resource
        self.spec = AgentSpec(
            name=agent,
            handler=self.handle,
            kind=HandlerKind.LEASED,
            retry=RETRY,
            accepts=(PREPARE, COMMIT, ABORT),
            description=f"Takes part in two-phase commits: {database or 'an agent'}.",
        )

    def handle(self, message: Envelope, context: HandlerContext) -> None:
        """Vote, or do what was decided.

        Raises:
            TransientError: it cannot tell yet.
            TerminalError: it has no part in this run, or nobody decided that.
        """
        branch = (
            TwoPhaseBranch.objects.filter(run=message.workflow_id, agent=context.agent).select_related("run").first()
        )
        if branch is None or message.source != COORDINATOR:
            raise TerminalError(
                f"{context.agent!r} has no part in {message.workflow_id}, or {message.source!r} has not."
            )
        request = BranchRequest(
            run=branch.run_id,
            participant=branch.name,
            input=msgspec.json.decode(branch.run.input),
            message=message,
            context=context,
        )
        if message.type == PREPARE:
            reached(ProtocolStep.PREPARE_RECEIVED)
            reply: tuple[str, str] | None = self._vote(branch, request)
        else:
            reached(ProtocolStep.DECISION_RECEIVED)
            reply = self._end(branch, request, commit=message.type == COMMIT)
        if reply is not None:
            outcome, reason = reply
            data = {"participant": branch.name, "outcome": outcome, "reason": reason[:MAX_REASON]}
            context.send(COORDINATOR, REPLIED, data)

    def _vote(self, branch: TwoPhaseBranch, request: BranchRequest) -> tuple[str, str]:
        try:
            check_undecided(branch.run)
            if self._resource is not None:
                self._resource.prepare(request)
                reached(ProtocolStep.PREPARED)
            else:
                self._prepare(branch, request)
        except VoteNo as error:
            return "no", error.reason
        except (psycopg.OperationalError, DuplicateObject, TransientError) as error:
            # It may be prepared. No is right all the same when there is no more time: the abort ends that too.
            if isinstance(error, psycopg.errors.LockNotAvailable | psycopg.errors.QueryCanceled):
                return "no", str(error)
            if request.context.attempt < RETRY.max_attempts and branch.run.deadline_at > timezone.now():
                raise TransientError(f"{branch.name} cannot prepare yet: {error}") from error
            return "no", f"Nobody knows whether it is prepared: {error}"
        except Exception as error:  # noqa: BLE001 - whatever a work function raises is its no
            return "no", safe_repr(error)
        return "yes", ""

    def _prepare(self, branch: TwoPhaseBranch, request: BranchRequest) -> None:
        left = (branch.run.deadline_at - timezone.now()).total_seconds()
        with prepared.dedicated(branch.database) as connection:
            if prepared.is_prepared(connection, branch.xid):
                return  # by an earlier attempt, whose vote was lost
            if prepared.fate(connection, branch.transactions) == "committed":
                raise VoteNo("Somebody committed the prepared transaction before it was decided.")
            ready = replace(request, connection=connection)
            with prepared.dedicated(branch.database) as second:
                prepared.prepare(
                    connection,
                    second,
                    branch.xid,
                    lambda: self._work and self._work(ready),
                    lambda number: _note(branch, number),
                    lambda: undecided(branch.run_id),
                    left,
                )

    def _end(self, branch: TwoPhaseBranch, request: BranchRequest, *, commit: bool) -> tuple[str, str] | None:
        """End it; None where that is not possible now. The relay sees to it then."""
        wanted = "commit" if commit else "abort"
        if branch.run.decision != wanted:
            raise TerminalError(f"{branch.run_id} is told to {wanted}; decided is {branch.run.decision or 'nothing'}.")
        if self._resource is None:
            ended = end_in_database(branch, commit=commit)
            if ended is not None:
                reached(ProtocolStep.ENDED)
            return ended
        try:
            (self._resource.commit if commit else self._resource.abort)(request)
        except Exception as error:
            logger.exception("%s cannot %s, trying again: %s", branch.name, wanted, branch.run_id)
            TwoPhaseBranch.objects.filter(pk=branch.pk).update(reason=safe_repr(error)[:MAX_REASON])
            return None
        reached(ProtocolStep.ENDED)
        return (BranchState.COMMITTED if commit else BranchState.ABORTED), ""


def end_in_database(branch: TwoPhaseBranch, *, commit: bool) -> tuple[BranchState, str] | None:
    """End a prepared transaction; None where its database cannot do that now."""
    try:
        with prepared.dedicated(branch.database) as connection:
            return prepared.finish(connection, branch.xid, branch.transactions, commit=commit)
    except psycopg.Error as error:
        logger.warning("%s cannot be ended yet, trying again: %s", branch.xid, str(error).strip())
        return None


def check_undecided(run: TwoPhaseRun) -> None:
    """Refuse to prepare what is decided, too late, or in doubt.

    Raises:
        VoteNo: says which.
    """
    if run.status != TwoPhaseStatus.PREPARING:
        raise VoteNo(f"It is {run.status} already.")
    if run.deadline_at <= timezone.now():
        raise VoteNo("The deadline has passed.")
    if run.incarnation != incarnation():
        raise VoteNo("The database that keeps the decision was restored since this was started.")


@contextmanager
def undecided(run: UUID) -> Iterator[Any]:
    """Keep a run from being decided while something is prepared, so that an abort finds it.

    Raises:
        VoteNo: it is decided already.
    """
    with transaction.atomic():
        check_undecided(TwoPhaseRun.objects.select_for_update(no_key=True).get(pk=run))
        yield None


def _note(branch: TwoPhaseBranch, number: str) -> None:
    """Keep the number of a transaction that is about to be prepared: the database tells its fate by it."""
    branch.transactions = f"{branch.transactions} {number}".strip()[-MAX_NUMBERS:]
    TwoPhaseBranch.objects.filter(pk=branch.pk).update(transactions=branch.transactions)
