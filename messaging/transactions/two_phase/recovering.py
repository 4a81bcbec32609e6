"""What the relay does: nothing stays in doubt that is decided, and what is not decided in time is aborted.

Everything here may be done twice, and by two relays at once: a run is decided under its row's lock, and a prepared
transaction that is ended already answers how it ended.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

import psycopg
from django.db import Error as DatabaseError
from django.db import connection, connections, transaction
from django.utils import timezone

from messaging.core.errors import ConfigurationError
from messaging.models import ENDED_BRANCHES, OPEN_TWO_PHASE, BranchState, TwoPhaseBranch, TwoPhaseRun, TwoPhaseStatus
from messaging.sending.reliable_bus import ReliableCommunicationBus
from messaging.transactions.two_phase import prepared
from messaging.transactions.two_phase.branch import end_in_database
from messaging.transactions.two_phase.definition import registered
from messaging.transactions.two_phase.naming import ABORT, COMMIT, COORDINATOR, parse_xid, xid_prefix
from messaging.transactions.two_phase.prepared import PreparedTransaction
from messaging.transactions.two_phase.runs import RunChange, end_workflow, lock
from messaging.transactions.two_phase.steps import ProtocolStep, reached

logger = logging.getLogger("nexus.relay")

AT_ONCE = 100
REPEAT_AFTER = 5.0
"""Seconds until what was decided is tried again: participants themselves are quicker where nothing went wrong."""
ORPHAN_AGE = 30.0
"""Seconds after which a prepared transaction whose run has ended was forgotten, and is not just being ended."""

_busy = threading.Lock()


def recover_in_background(*, thorough: bool = False) -> int:
    """Begin to recover, unless that is under way. Returns 0: nothing is waited for.

    Args:
        thorough: end orphans too, and runs whose definition this process does not know (any more).
    """
    wanted = bool(registered()) or (thorough and TwoPhaseRun.objects.filter(status__in=OPEN_TWO_PHASE).exists())
    if wanted and not _busy.locked():
        threading.Thread(target=_recover_and_close, args=(thorough,), name="nexus-two-phase", daemon=True).start()
    return 0


def _recover_and_close(thorough: bool) -> None:
    if not _busy.acquire(blocking=False):
        return
    try:
        recover(thorough=thorough)
    except DatabaseError as error:
        logger.warning("Two-phase commits cannot be recovered, trying again: %s", error)
    except Exception:
        logger.exception("Recovering two-phase commits failed, trying again.")
    finally:
        _busy.release()
        connection.close()


def recover(*, thorough: bool = True) -> int:
    """Abort what is overdue, repeat what is decided, end orphans; return how many things were done."""
    return abort_overdue() + repeat_decisions() + (end_orphans() if thorough else 0)


# --- no decision, no commit ---


def abort_overdue() -> int:
    """Decide against runs whose time is over. What was started before a restore is left to an operator."""
    overdue = TwoPhaseRun.objects.filter(status=TwoPhaseStatus.PREPARING, deadline_at__lte=timezone.now())
    count = 0
    for identifier in list(overdue.order_by("deadline_at").values_list("pk", flat=True)[:AT_ONCE]):
        with transaction.atomic():
            run = lock(identifier)
            if run is None or run.status != TwoPhaseStatus.PREPARING or run.deadline_at > timezone.now():
                continue
            change = RunChange(run, actor="relay")
            if not change.doubt():
                change.decide(commit=False, reason=run.reason or "not every participant voted in time")
                run.tried_at = timezone.now() - timedelta(seconds=REPEAT_AFTER)
            change.save()
        count += 1
    return count


# --- what is decided is repeated until it is done ---


def repeat_decisions() -> int:
    """Bring runs that are decided to their end."""
    before = timezone.now() - timedelta(seconds=REPEAT_AFTER)
    decided = TwoPhaseRun.objects.filter(
        status__in=(TwoPhaseStatus.COMMITTING, TwoPhaseStatus.ABORTING), tried_at__lte=before, changed_at__lte=before
    ) | TwoPhaseRun.objects.filter(status=TwoPhaseStatus.ABORTING, tried_at__lte=before)
    count = 0
    for identifier in list(decided.order_by("tried_at").values_list("pk", flat=True)[:AT_ONCE]):
        TwoPhaseRun.objects.filter(pk=identifier).update(tried_at=timezone.now())
        reached(ProtocolStep.RECOVERING)
        count += bring_to_end(identifier)
    return count


def bring_to_end(identifier: UUID) -> int:
    """End every participant of a decided run that has not ended; return how many were."""
    count = 0
    unended = TwoPhaseBranch.objects.filter(run=identifier).exclude(state__in=ENDED_BRANCHES).select_related("run")
    for branch in unended.order_by("pk"):
        commit = branch.run.decision == "commit"
        if not branch.database:
            _tell_again(branch, COMMIT if commit else ABORT)
            continue
        try:
            ended = end_in_database(branch, commit=commit)
        except ConfigurationError as error:
            logger.error("%s cannot be ended: %s", branch.xid, error)
            continue
        if ended is not None:
            reached(ProtocolStep.RECOVERED)
            _note_end(branch, *ended)
            count += 1
    with transaction.atomic():  # nobody closed it when its participants' answers were lost
        run = lock(identifier)
        last = None if run is None else run.branches.order_by("pk").last()
        if run is not None and last is not None and last.state in ENDED_BRANCHES:
            change = RunChange(run, actor="relay")
            change.end_branch(last, BranchState(last.state))
            change.save()
            end_workflow(run)
    return count


def _tell_again(branch: TwoPhaseBranch, type: str) -> None:
    ReliableCommunicationBus().send(branch.run_id, branch.agent, type, {"participant": branch.name}, sender=COORDINATOR)


def _note_end(branch: TwoPhaseBranch, state: BranchState, reason: str) -> None:
    with transaction.atomic():
        run = lock(branch.run_id)
        if run is None:
            return
        fresh = run.branches.get(pk=branch.pk)
        change = RunChange(run, actor="relay")
        change.end_branch(fresh, state, reason)
        change.save()
        end_workflow(run)


# --- orphans ---


def end_orphans() -> int:
    """End prepared transactions whose runs have ended without them. Whatever is not known is left alone, and listed."""
    aliases = {each.database for definition in registered() for each in definition.participants.values()} - {""}
    prefix, count = xid_prefix() if aliases else "", 0
    for alias in sorted(aliases):
        if prepared.alias_problem(alias):
            continue  # nexus.E022 says so
        try:
            with prepared.dedicated(alias) as native:
                for found in prepared.listed(native, alias, prefix):
                    if found.age >= ORPHAN_AGE:
                        count += _end_orphan(native, found, prefix)
        except psycopg.Error as error:
            logger.warning("Prepared transactions of %s cannot be listed: %s", alias, str(error).strip())
    return count


def _end_orphan(native: psycopg.Connection[object], found: PreparedTransaction, prefix: str) -> int:
    name = parse_xid(found.xid, prefix)
    run = None if name is None else TwoPhaseRun.objects.filter(pk=name.run).first()
    if run is None:
        logger.error(
            "%s in %s is prepared since %.0f s, and nobody knows what was decided. See manage.py nexus_transactions "
            "in-doubt.",
            found.xid,
            found.database,
            found.age,
        )
        return 0
    if run.status not in (TwoPhaseStatus.COMMITTED, TwoPhaseStatus.ABORTED, TwoPhaseStatus.HEURISTIC):
        return 0  # on its way, or an operator's
    ended = prepared.finish(native, found.xid, "", commit=run.decision == "commit")
    logger.warning("%s was left behind in %s: %s.", found.xid, found.database, ended[0] if ended else "busy")
    return int(ended is not None)


def postgresql_aliases() -> Iterable[str]:
    """The aliases in DATABASES that could hold prepared transactions."""
    return [alias for alias in connections.settings if not prepared.alias_problem(alias)]
