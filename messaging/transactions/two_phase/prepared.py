"""Prepared transactions of PostgreSQL, on dedicated connections: never on Django's own.

Django's are in autocommit, where psycopg's ``tpc_begin`` raises; and a failed transaction answers ``PREPARE
TRANSACTION`` with ``ROLLBACK`` and no error, which must not become a yes. So the command tag is checked, and the name
is looked up in ``pg_prepared_xacts``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from django.db import connections
from psycopg import sql
from psycopg.errors import InvalidParameterValue, ObjectNotInPrerequisiteState, UndefinedObject

from messaging.core.errors import ConfigurationError, TransientError, VoteNo
from messaging.models import BranchState
from messaging.transactions.two_phase.steps import ProtocolStep, reached

CONNECT_TIMEOUT = 5
FINISH_TIMEOUT_MS = 10_000
MAX_LISTED = 1_000
_LOGGED: LiteralString = "SELECT pg_logical_emit_message(true, 'nexus', %s)"
"""Writes a record of the transaction's number into the server's log, whether it changed a row or not."""


@dataclass(frozen=True, slots=True)
class PreparedTransaction:
    """One that waits for its end.

    Args:
        xid: its name.
        transaction: the database's own number, without its epoch.
        prepared_at, age: when, and how many seconds ago by the database's clock.
        database: alias.
    """

    xid: str
    transaction: str
    prepared_at: datetime
    age: float
    database: str


@contextmanager
def dedicated(alias: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of our own to one of Django's databases, outside of any transaction; closed at the end.

    Raises:
        ConfigurationError: the alias is unknown, or no PostgreSQL.
        psycopg.OperationalError: the database cannot be reached.
    """
    check_alias(alias)
    wrapper: Any = connections[alias]
    parameters = {"connect_timeout": CONNECT_TIMEOUT, **wrapper.get_connection_params()}
    parameters.pop("cursor_factory", None)
    connection = psycopg.connect(**parameters, autocommit=True)
    try:
        yield connection
    finally:
        connection.close()


def check_alias(alias: str) -> None:
    """Refuse a database that cannot take part.

    Raises:
        ConfigurationError: says why.
    """
    problem = alias_problem(alias)
    if problem:
        raise ConfigurationError(problem)


def alias_problem(alias: str) -> str:
    """Why a database cannot take part in two-phase commits, or nothing."""
    if alias not in connections.settings:
        return f"DATABASES has no {alias!r}; it has {', '.join(sorted(connections.settings))}."
    if connections[alias].vendor != "postgresql":
        return (
            f"Database {alias!r} is {connections[alias].display_name}, which cannot keep a transaction prepared over a "
            "crash. Use PostgreSQL, or a saga."
        )
    return ""


def listed(connection: psycopg.Connection[Any], alias: str, prefix: str) -> list[PreparedTransaction]:
    """The prepared transactions of a database whose names begin so, the oldest first."""
    found = connection.execute(
        "SELECT gid, transaction::text, prepared, extract(epoch FROM clock_timestamp() - prepared)::float8"
        " FROM pg_prepared_xacts WHERE database = current_database() AND starts_with(gid, %s)"
        " ORDER BY prepared LIMIT %s",
        [prefix, MAX_LISTED],
    ).fetchall()
    return [PreparedTransaction(row[0], row[1], row[2], row[3], alias) for row in found]


def is_prepared(connection: psycopg.Connection[Any], xid: str) -> bool:
    """Whether a prepared transaction of that name waits in this database."""
    return (
        connection.execute(
            "SELECT 1 FROM pg_prepared_xacts WHERE gid = %s AND database = current_database()", [xid]
        ).fetchone()
        is not None
    )


def fate(connection: psycopg.Connection[Any], numbers: str) -> str:
    """What became of the attempts with these numbers, of which at most one was prepared.

    Returns:
        committed, in progress, or aborted where all are; empty where the database cannot tell.
    """
    found: set[str] = set()
    for number in numbers.split():
        try:
            row = connection.execute("SELECT pg_xact_status(%s::xid8)", [number]).fetchone()
        except InvalidParameterValue:  # a number that was not given out yet: this database was restored from a backup
            row = None
        found.add(str(row[0] or "") if row else "")
    return next((each for each in ("committed", "in progress", "", "aborted") if each in found), "")


def prepare(
    connection: psycopg.Connection[Any],
    second: psycopg.Connection[Any],
    xid: str,
    work: Callable[[], object],
    note: Callable[[str], None],
    undecided: Callable[[], Any],
    timeout: float,
) -> None:
    """Do some work and prepare it. Returns only when it is certain to be prepared.

    Args:
        connection: from ``dedicated``.
        second: another one to the same database.
        xid: name of the prepared transaction.
        work: runs statements on the connection.
        note: stores the database's number of the transaction, in a transaction of its own.
        undecided: a context manager that keeps the run from being decided; raises VoteNo where it is already.
        timeout: seconds for each statement, and for each lock.

    Raises:
        VoteNo: nothing is prepared.
        TransientError: another attempt is under way, or has just prepared it.
        psycopg.OperationalError: the connection was lost; it may be prepared.
    """
    milliseconds = str(max(1, int(timeout * 1000)))
    connection.execute("BEGIN")
    try:
        _give_settings(connection, ("statement_timeout", "lock_timeout"), milliseconds)
        number = _number(connection)
        row = connection.execute("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [xid]).fetchone()
        if row is None or not row[0]:  # kept while it is prepared, too
            raise TransientError(f"Another attempt at {xid} is under way.", retry_after=1.0)
        work()
        reached(ProtocolStep.WORKED)
        if connection.info.transaction_status != psycopg.pq.TransactionStatus.INTRANS or _number(connection) != number:
            raise VoteNo(
                "The transaction failed, or was ended by the work function, which must not swallow errors of the "
                "database, commit or roll back."
            )
        connection.execute(_LOGGED, [xid])
        _flush_log(second)
        note(number)
        reached(ProtocolStep.NOTED)
        with undecided():
            cursor = connection.execute(_statement("PREPARE TRANSACTION {}", xid))
            if cursor.statusmessage != "PREPARE TRANSACTION":
                raise VoteNo(f"PREPARE TRANSACTION was answered by {cursor.statusmessage}: the transaction had failed.")
    except ObjectNotInPrerequisiteState as error:
        raise VoteNo(f"{error.diag.message_primary}: {error.diag.message_hint or 'see the server log'}.") from None
    finally:
        if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            with suppress(psycopg.Error):
                connection.execute("ROLLBACK")
    if not is_prepared(connection, xid):
        raise VoteNo("It was prepared and is not there: somebody ended it, or something answers in the server's place.")
    reached(ProtocolStep.PREPARED)


def _flush_log(connection: psycopg.Connection[Any]) -> None:
    """Have the server's log on disk up to here: a commit waits for all that was logged before it.

    A number of which nothing is on disk is given out again after a crash. ``fate`` would then tell of a stranger.
    """
    with connection.transaction():
        _give_settings(connection, ("synchronous_commit",), "on")
        connection.execute(_LOGGED, ["flush"])


def _give_settings(connection: psycopg.Connection[Any], names: tuple[str, ...], value: str) -> None:
    for name in names:
        connection.execute("SELECT set_config(%s, %s, true)", [name, value])


def _number(connection: psycopg.Connection[Any]) -> str:
    row = connection.execute("SELECT pg_current_xact_id()::text").fetchone()
    return str(row[0]) if row else ""


def _statement(template: LiteralString, xid: str) -> sql.Composed:
    return sql.SQL(template).format(sql.Literal(xid))


def finish(
    connection: psycopg.Connection[Any], xid: str, numbers: str, *, commit: bool
) -> tuple[BranchState, str] | None:
    """Bring a prepared transaction to its end, or find out how it ended.

    Args:
        connection: from ``dedicated``.
        xid: its name.
        numbers: the database's own of it; empty where none was noted, so that nothing can have been prepared.
        commit: what was decided.

    Returns:
        (its state, why), or None where it cannot be ended yet.
    """
    connection.execute("SELECT set_config('statement_timeout', %s, false)", [str(FINISH_TIMEOUT_MS)])
    statement = _statement("COMMIT PREPARED {}" if commit else "ROLLBACK PREPARED {}", xid)
    wanted = BranchState.COMMITTED if commit else BranchState.ABORTED
    with suppress(UndefinedObject):
        try:
            if is_prepared(connection, xid):
                connection.execute(statement)
                return wanted, ""
        except ObjectNotInPrerequisiteState:  # another session is ending it at this moment
            return None
    if not numbers and not commit:
        return wanted, ""
    actual = fate(connection, numbers)
    if actual == "in progress":
        return None
    if actual == wanted:
        return wanted, ""
    if actual:
        return BranchState.HEURISTIC, f"Somebody ended the prepared transaction: it is {actual}, not {wanted}."
    return BranchState.HEURISTIC, f"It is gone, and the database cannot tell whether it was {wanted}."
