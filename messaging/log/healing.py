"""Connections that the database cut are dropped by whoever notices, so that the next statement opens another.

Django does this at the end of a request. Handlers on the event loop, tools, threads of a pool and programs that wait
have no request: without this, such a thread's connection would fail for ever after one restart of the database. Who
notices also has the other threads' connections checked before their next statement (where CONN_HEALTH_CHECKS is on): a
tool whose failure is told to a model gets no second try.

A server that takes no writes is as good as lost: the standby of a pair, where an address of both leads to the primary.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from django.db import InterfaceError, InternalError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

LOST = (OperationalError, InterfaceError)
"""What Django raises when a connection is lost, and for some lesser troubles: ask ``drop_if_lost``."""

TROUBLES = (*LOST, InternalError)
"""What ``heal`` wants to see."""

READ_ONLY = "25006"
"""PostgreSQL's code for a statement that writes where nothing may be written."""

_lock = threading.Lock()
_watched: WeakSet[BaseDatabaseWrapper] = WeakSet()


def takes_no_writes(connection: BaseDatabaseWrapper) -> bool:
    """Whether a connection's server is a standby, or read-only for now, as it has told by itself: it is not asked."""
    native = connection.connection
    if connection.vendor != "postgresql" or native is None or native.closed:
        return False
    told = native.info.parameter_status
    return "on" in (told("in_hot_standby"), told("default_transaction_read_only"))


def heal(connection: BaseDatabaseWrapper, error: Exception) -> None:
    """Drop the connection on which a statement has just failed, if it is of no more use; then raise the error again.

    Args:
        connection: Django's, of this thread.
        error: one of ``TROUBLES``.

    Raises:
        OperationalError: the server takes no writes. The connection is closed, in a transaction too: whoever waits for
            a database that is away waits for this one.
    """
    if isinstance(error, LOST):
        drop_if_lost(connection)
    elif getattr(error.__cause__, "sqlstate", None) == READ_ONLY and takes_no_writes(connection):
        connection.close()
        _check_the_others()
        raise OperationalError(
            "The database server takes no writes: it is a standby, or was made read-only. Let DATABASE_URL lead to the "
            f"primary (target_session_attrs=read-write). {error}"
        ) from error


def drop_if_lost(connection: BaseDatabaseWrapper) -> bool:
    """Close a connection that is of no more use. One in a transaction is left to the end of that, which closes it too.

    Args:
        connection: Django's, of this thread, on which a statement has just failed.

    Returns:
        Whether it was closed.
    """
    if connection.connection is None or connection.in_atomic_block or not connection.get_autocommit():
        return False
    if connection.is_usable():
        return False
    connection.close()
    _check_the_others()
    return True


def _check_the_others() -> None:
    with _lock:
        for other in _watched:
            other.health_check_done = False  # type: ignore[attr-defined]  # the stubs do not know it


def _heal(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    try:
        return execute(sql, params, many, context)
    except TROUBLES as error:
        heal(context["connection"], error)
        raise


def _watch(connection: BaseDatabaseWrapper, **_: Any) -> None:
    if _heal not in connection.execute_wrappers:  # they outlive a reconnect
        connection.execute_wrappers.append(_heal)
    with _lock:
        new = connection not in _watched
        _watched.add(connection)
    if new:
        _check_between_transactions(connection)


def _check_between_transactions(connection: BaseDatabaseWrapper) -> None:
    """Let a connection be checked only where it is in no transaction.

    Another thread asks for the check at any moment. Between COMMIT and Django's return to autocommit the check itself
    would begin a transaction, which nobody would end: it would keep its locks, and all that came later in it. The same
    holds for a new connection that Django has not set to autocommit yet.
    """
    check = connection.close_if_health_check_failed

    def check_unless_in_transaction() -> None:
        if connection.autocommit and getattr(connection.connection, "autocommit", True):
            check()

    connection.close_if_health_check_failed = check_unless_in_transaction  # type: ignore[method-assign]


def watch_connections() -> None:
    """Have every connection that Django opens from now on, in any thread, dropped when it is lost."""
    connection_created.connect(_watch, dispatch_uid="nexus.healing")
