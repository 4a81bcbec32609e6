"""Connections that the database cut are dropped by whoever notices, so that the next statement opens another.

Django does this at the end of a request. Handlers on the event loop, tools, threads of a pool and programs that wait
have no request: without this, such a thread's connection would fail for ever after one restart of the database. Who
notices also has the other threads' connections checked before their next statement (where CONN_HEALTH_CHECKS is on): a
tool whose failure is told to a model gets no second try.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from django.db import InterfaceError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

LOST = (OperationalError, InterfaceError)
"""What Django raises when a connection is lost, and for some lesser troubles: ask ``drop_if_lost``."""

_lock = threading.Lock()
_watched: WeakSet[BaseDatabaseWrapper] = WeakSet()


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
    with _lock:
        for other in _watched:
            other.health_check_done = False  # type: ignore[attr-defined]  # the stubs do not know it
    return True


def _heal(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    try:
        return execute(sql, params, many, context)
    except LOST:
        drop_if_lost(context["connection"])
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
