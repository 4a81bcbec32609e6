"""Telling a lost database from a failed statement, by evidence."""

from __future__ import annotations

from django.db import Error as DatabaseError
from django.db import connection

from messaging.core.errors import NexusError


class DatabaseUnavailable(NexusError):
    """The database cannot be reached.

    Nothing of the batch is lost: it is tried again, or handed out by the broker again.
    """


def check_database(error: DatabaseError) -> None:
    """Return when the database answers; then the error belongs to what was done, and an attempt may be charged.

    A connection that is of no more use proves nothing: a handler may have closed it. A new one is made and asked.

    Raises:
        DatabaseUnavailable: nobody answers.
    """
    if connection.connection is not None and connection.is_usable():
        return
    connection.close()
    try:
        connection.ensure_connection()
        if connection.is_usable():
            return
    except DatabaseError as lost:
        error = lost
    connection.close()
    raise DatabaseUnavailable(f"The database cannot be reached: {error}") from error


LOCK_FAILURES = frozenset({"55P03", "40P01", "40001"})
"""PostgreSQL's codes for a lock that did not come in time, a deadlock, and transactions that cannot be serialized."""


def is_lock_failure(error: DatabaseError) -> bool:
    """Whether a statement failed because of what another transaction does at this moment: no message is to blame."""
    code = getattr(error.__cause__, "sqlstate", None)
    return code in LOCK_FAILURES if code else "locked" in str(error)
