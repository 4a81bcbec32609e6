"""What operators see and do: what is in doubt, and deciding what nobody else may decide."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import psycopg
from django.db import transaction
from django.utils import timezone

from messaging.core.errors import ConfigurationError, UnknownTransaction
from messaging.models import OPEN_TWO_PHASE, JournalEntry, TwoPhaseBranch, TwoPhaseRun, TwoPhaseStatus
from messaging.transactions.two_phase import prepared
from messaging.transactions.two_phase.naming import Xid, incarnation, parse_xid, xid_prefix
from messaging.transactions.two_phase.prepared import PreparedTransaction
from messaging.transactions.two_phase.recovering import REPEAT_AFTER, bring_to_end, postgresql_aliases
from messaging.transactions.two_phase.runs import RunChange, lock

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class InDoubt:
    """A prepared transaction that waits for its end.

    Args:
        xid, database: its name, and the alias of where it is.
        age: in seconds.
        run: id of its two-phase commit.
        name: of the definition; empty where nothing is known of it.
        status: of the run; ``unknown`` where the decisions have no such row. Nobody but an operator ends those.
    """

    xid: str
    database: str
    age: float
    run: str
    name: str
    status: str

    def data(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def in_doubt() -> tuple[list[InDoubt], list[str]]:
    """All prepared transactions of this installation, the oldest first, and which databases could not be asked."""
    prefix = xid_prefix()
    found, problems = _list_prepared(prefix)
    names = {each.xid: name for each in found if (name := parse_xid(each.xid, prefix)) is not None}
    rows = TwoPhaseRun.objects.in_bulk({name.run for name in names.values()})
    listed = []
    for each in sorted(found, key=lambda one: -one.age):
        name = names.get(each.xid)
        row = None if name is None else rows.get(name.run)
        listed.append(
            InDoubt(
                xid=each.xid,
                database=each.database,
                age=round(each.age, 1),
                run="" if name is None else str(name.run),
                name="" if row is None else row.name,
                status=UNKNOWN if row is None else row.status,
            )
        )
    return listed, problems


def _list_prepared(prefix: str) -> tuple[list[PreparedTransaction], list[str]]:
    found: dict[tuple[str, float], PreparedTransaction] = {}
    problems = []
    for alias in postgresql_aliases():
        try:
            with prepared.dedicated(alias) as native:
                for each in prepared.listed(native, alias, prefix):  # two aliases may mean one database
                    found.setdefault((each.xid, each.prepared_at.timestamp()), each)
        except psycopg.Error as error:
            problems.append(f"{alias}: {str(error).strip()}")
    return list(found.values()), problems


def resolve(xid: str, *, commit: bool, reason: str, actor: str) -> TwoPhaseRun:
    """Decide a transaction that is in doubt. All participants of its run follow, here and by the relay.

    Args:
        xid: the name of any of its prepared transactions.
        commit: the decision.
        reason: for the journal.
        actor: who decides.

    Raises:
        UnknownTransaction: the name is none of ours, or it was decided otherwise.
        ConfigurationError: there is no reason.
    """
    if not reason.strip():
        raise ConfigurationError(f"Deciding {xid} needs a reason, for whoever reads the journal.")
    prefix = xid_prefix()
    name = parse_xid(xid, prefix)
    if name is None:
        raise UnknownTransaction(f"{xid} is no transaction of this installation, whose names begin with {prefix!r}.")
    wanted = "commit" if commit else "abort"
    with transaction.atomic():
        run = lock(name.run) or _adopt(name, xid, prefix, actor)
        if run.decision and run.decision != wanted:
            raise UnknownTransaction(
                f"{xid} was decided: {run.decision}. The relay sees to it; nothing else may be done."
            )
        if run.status == TwoPhaseStatus.PREPARING and run.incarnation == incarnation() and commit:
            raise UnknownTransaction(
                f"{xid} is not in doubt: its participants are voting until {run.deadline_at:%H:%M:%S}, and without all "
                "votes it must not be committed."
            )
        if run.status not in OPEN_TWO_PHASE:
            return run
        change = RunChange(run, actor=actor)
        change.decide(commit=commit, reason=f"{reason} ({actor})")
        run.tried_at = timezone.now() - timedelta(seconds=REPEAT_AFTER)
        change.save()
    bring_to_end(run.pk)
    run.refresh_from_db()
    return run


def _adopt(name: Xid, xid: str, prefix: str, actor: str) -> TwoPhaseRun:
    """Make a row for a run that the database forgot, with whatever of it is prepared anywhere."""
    found, _ = _list_prepared(prefix)
    parts = {each.xid: each for each in found if (part := parse_xid(each.xid, prefix)) and part.run == name.run}
    if xid not in parts:
        raise UnknownTransaction(f"{xid} is prepared nowhere, and nothing is known of it.")
    now = timezone.now()
    last = JournalEntry.objects.filter(workflow_id=name.run).order_by("-number").first()
    run = TwoPhaseRun.objects.create(
        id=name.run,
        name="unknown",
        status=TwoPhaseStatus.IN_DOUBT,
        input="null",
        incarnation="",
        deadline_at=now,
        journal_count=0 if last is None else last.number,
        journal_head="" if last is None else last.hash,
        started_at=min(each.prepared_at for each in parts.values()),
        changed_at=now,
        tried_at=now,
    )
    for each in parts.values():
        part = parse_xid(each.xid, prefix)
        TwoPhaseBranch.objects.create(
            run=run, name=part.branch if part else "", agent="", database=each.database, xid=each.xid, state="prepared"
        )
    change = RunChange(run, actor=actor)
    change.adopt([each.xid for each in parts.values()])
    change.save()
    return run
