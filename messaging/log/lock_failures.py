"""Telling a lock that another transaction had from a failure of the statement."""

from __future__ import annotations

from django.db import Error as DatabaseError

LOCK_FAILURES = frozenset({"55P03", "40P01", "40001"})
"""PostgreSQL's codes for a lock that did not come in time, a deadlock, and transactions that cannot be serialized."""

MAX_CAUSES = 10


def is_lock_failure(error: BaseException) -> bool:
    """Whether an error, or what it was raised from, is of what another transaction does at this moment: no message is
    to blame.
    """
    found: BaseException | None = error
    for _ in range(MAX_CAUSES):
        if found is None:
            return False
        if isinstance(found, DatabaseError):
            code = getattr(found.__cause__, "sqlstate", None)
            if code in LOCK_FAILURES if code else "locked" in str(found):
                return True
        found = found.__cause__
    return False
