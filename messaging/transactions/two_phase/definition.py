"""Defining two-phase commits, starting them and looking at them."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Any, Self
from uuid import UUID

import msgspec
from django.db import transaction
from django.utils import timezone

from messaging.core.errors import ConfigurationError, ReplyTimeout, UnknownTransaction
from messaging.core.names import check_agent_name
from messaging.core.registry import registry
from messaging.models import OPEN_TWO_PHASE, TwoPhaseBranch, TwoPhaseRun
from messaging.sending.bus import CommunicationBus
from messaging.transactions.two_phase import prepared
from messaging.transactions.two_phase.branch import BranchAgent, Resource, WorkFunction
from messaging.transactions.two_phase.naming import BEGIN, COORDINATOR, incarnation, xid_of, xid_prefix
from messaging.transactions.two_phase.runs import RunChange

POLL = 0.05
TIMEOUT = 60.0

_definitions: dict[str, TwoPhase] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoPhaseView:
    """How a two-phase commit stands.

    Args:
        id: of the run and its workflow.
        name: of the definition.
        status: preparing, committing, aborting, in_doubt, committed, aborted or heuristic.
        reason: why it is not simply on its way or committed.
        participants: name → its state.
    """

    id: UUID
    name: str
    status: str
    reason: str
    participants: dict[str, str]

    @property
    def ended(self) -> bool:
        """Whether every participant has ended."""
        return self.status not in OPEN_TWO_PHASE


class TwoPhase:
    """Several databases or agents that all commit, or all abort.

        transfer = (
            TwoPhase("transfer")
            .participant("bank-a", database="bank_a", work=debit)
            .participant("bank-b", database="bank_b", work=credit)
            .register()
        )
        run = transfer.start(bus, {"amount": 30})

    Args:
        name: of the definition; the agent of a participant is ``<name>.<participant>``.
        timeout: seconds in which all must have voted; what is not decided by then is aborted.

    Raises:
        ConfigurationError: it cannot have that name or timeout.
    """

    def __init__(self, name: str, *, timeout: float = TIMEOUT) -> None:
        check_agent_name(name)
        if not 0 < timeout <= 86_400:
            raise ConfigurationError(
                f"Two-phase commit {name!r}: timeout is {timeout!r}; expected up to 86400 seconds."
            )
        self.name = name
        self.timeout = timeout
        self.participants: dict[str, BranchAgent] = {}

    def participant(
        self, name: str, *, database: str = "", work: WorkFunction | None = None, resource: Resource | None = None
    ) -> Self:
        """Add one.

        Args:
            name: of the participant.
            database: alias in DATABASES of a PostgreSQL, with ``work``.
            work: called with a ``BranchRequest``; runs statements by its ``execute``. What it raises is a no.
            resource: an object with ``prepare``, ``commit`` and ``abort``, instead of a database.

        Raises:
            ConfigurationError: the name is taken, or it is neither the one nor the other.
        """
        agent = f"{self.name}.{name}"
        check_agent_name(agent)
        if name in self.participants:
            raise ConfigurationError(f"Two-phase commit {self.name!r} has a participant {name!r} already.")
        if (resource is None) == (not database) or (work is None) == bool(database):
            raise ConfigurationError(
                f"Participant {name!r} of {self.name!r}: give database=… and work=…, or resource=… alone."
            )
        self.participants[name] = BranchAgent(agent, name, database, work, resource)
        return self

    def register(self) -> Self:
        """Make its agents known to this process. Call it in a module that workers and the relay load.

        Raises:
            ConfigurationError: a name is taken, or there is no participant.
        """
        if not self.participants:
            raise ConfigurationError(f"Two-phase commit {self.name!r} has no participants.")
        for each in self.participants.values():
            registry.register(each.spec)
        _definitions[self.name] = self
        return self

    def start(
        self, bus: CommunicationBus, input: Any = None, *, actor: str = "program", deduplication_id: str | None = None
    ) -> UUID:
        """Start a run and return its id, which is that of its workflow. Joins the caller's transaction.

        Args:
            bus: a durable one.
            input: any JSON value; every participant gets it.
            actor: who starts it, for the journal.
            deduplication_id: starting again with the same one returns the first run.

        Raises:
            ConfigurationError: the bus is not durable, or a database cannot take part.
        """
        if not bus.durable:
            raise ConfigurationError(
                f"Two-phase commit {self.name!r}: a decision must be durable, and this bus keeps nothing. Use "
                "ReliableCommunicationBus(), or a saga."
            )
        for each in self.participants.values():
            if each.database:
                prepared.check_alias(each.database)
        unknown = bus.unknown_names([each.spec.name for each in self.participants.values()])
        if unknown or not self.participants:
            raise ConfigurationError(f"Two-phase commit {self.name!r} is not registered: call register().")
        encoded = _encode(input)
        with transaction.atomic():
            # One dead message must not stop a run: it is aborted when its time is over.
            run = bus.start_workflow(
                f"two-phase commit {self.name}", failure_policy="skip", deduplication_id=deduplication_id
            )
            if deduplication_id is not None and TwoPhaseRun.objects.filter(pk=run).exists():
                return run
            self._insert(run, encoded, actor)
            bus.send(run, COORDINATOR, BEGIN, {"actor": actor}, sender=COORDINATOR)
        return run

    def _insert(self, identifier: UUID, encoded: str, actor: str) -> None:
        now, prefix = timezone.now(), xid_prefix()
        run = TwoPhaseRun.objects.create(
            id=identifier,
            name=self.name,
            input=encoded,
            incarnation=incarnation(),
            deadline_at=now + timedelta(seconds=self.timeout),
            started_at=now,
            changed_at=now,
            tried_at=now,
        )
        TwoPhaseBranch.objects.bulk_create(
            TwoPhaseBranch(
                run=run, name=name, agent=each.spec.name, database=each.database, xid=xid_of(prefix, identifier, name)
            )
            for name, each in self.participants.items()
        )
        change = RunChange(run, actor=actor)
        change.begin(list(self.participants))
        change.save()

    @staticmethod
    def status(run: UUID) -> TwoPhaseView:
        """How a run stands.

        Raises:
            UnknownTransaction: there is none with that id.
        """
        row = TwoPhaseRun.objects.filter(pk=run).first()
        if row is None:
            raise UnknownTransaction(f"There is no two-phase commit {run}.")
        branches = dict(row.branches.order_by("pk").values_list("name", "state"))
        return TwoPhaseView(id=run, name=row.name, status=row.status, reason=row.reason, participants=branches)

    @staticmethod
    def wait(run: UUID, timeout: float) -> TwoPhaseView:
        """Wait until a run has ended; for programs and tests.

        Raises:
            ReplyTimeout: it has not, in that time. It goes on.
        """
        deadline, pause = monotonic() + timeout, threading.Event()
        while not (view := TwoPhase.status(run)).ended:
            if monotonic() >= deadline:
                raise ReplyTimeout(f"Two-phase commit {run} is {view.status} after {timeout:g} s: {view.participants}.")
            pause.wait(POLL)
        return view


def _encode(value: Any) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise ConfigurationError(f"The input of a two-phase commit is a JSON value: {error}.") from None


def registered() -> Iterable[TwoPhase]:
    """The definitions that this process knows."""
    return tuple(_definitions.values())


def forget(name: str) -> None:
    """Take a definition and its agents out of this process; for tests."""
    known = _definitions.pop(name, None)
    for each in known.participants.values() if known is not None else ():
        registry.remove(each.spec.name)
