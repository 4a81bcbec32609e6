"""Telling a lost database from a failed statement, by evidence."""

from __future__ import annotations

from typing import Any

from django.db import Error as DatabaseError
from django.db import connection
from django.db.transaction import TransactionManagementError
from psycopg.pq import TransactionStatus

from messaging.core.describing import storable
from messaging.core.errors import HandlerError, NexusError
from messaging.log.healing import takes_no_writes


class DatabaseUnavailable(NexusError):
    """The database cannot be reached.

    Nothing of the batch is lost: it is tried again, or handed out by the broker again.
    """


def check_database(error: DatabaseError) -> None:
    """Return when the database answers and takes writes.

    Then the error belongs to what was done, and an attempt may be charged. A connection that is of no more use proves
    nothing: a handler may have closed it. A new one is made and asked.

    Raises:
        DatabaseUnavailable: nobody does.
    """
    if connection.connection is not None and not takes_no_writes(connection) and connection.is_usable():
        return
    connection.close()
    try:
        connection.ensure_connection()
        if not takes_no_writes(connection) and connection.is_usable():
            return
    except DatabaseError as lost:
        error = lost
    connection.close()
    raise DatabaseUnavailable(f"The database cannot be reached: {error}") from error


def refuse_broken_transaction() -> None:
    """Refuse to go on in a transaction that can only be rolled back: a handler caught an error of the database.

    Raises:
        HandlerError: says which error it was, and what to do.
    """
    if connection.needs_rollback:
        raise _swallowed(_rollback_cause())
    native: Any = connection.connection
    asked = connection.vendor == "postgresql" and native is not None and not native.closed
    if asked and native.info.transaction_status == TransactionStatus.INERROR:
        raise _swallowed(None)


def explained(error: DatabaseError) -> Exception:
    """Why a handler could not go on in its transaction, where that is the trouble; otherwise the error itself."""
    if isinstance(error, TransactionManagementError) and connection.needs_rollback:
        return _swallowed(_rollback_cause() or error.__cause__)
    return _swallowed(None) if getattr(error.__cause__, "sqlstate", None) == ABORTED else error


def _rollback_cause() -> BaseException | None:
    cause = getattr(connection, "rollback_exc", None)
    return cause if isinstance(cause, BaseException) else None


def _swallowed(cause: BaseException | None) -> HandlerError:
    what = "an error of the database" if cause is None else f"{type(cause).__name__} ({storable(str(cause)).strip()})"
    error = HandlerError(
        f"The handler caught {what} and went on. The database had given up the transaction by then, and with it all "
        "that the handler did before. Put what may fail into a block of its own, inside the try: "
        "with transaction.atomic(): …"
    )
    error.__cause__ = cause
    return error


ABORTED = "25P02"
"""PostgreSQL's code for a statement in a transaction that has failed already."""
