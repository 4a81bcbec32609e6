"""Giving PostgreSQL its settings where a pooler takes no startup parameters (``messaging.core.database_options``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from psycopg.pq import TransactionStatus

from messaging.core.database_options import POOLING_KEY, SETTINGS_KEY


def pools_transactions(connection: BaseDatabaseWrapper) -> bool:
    """Whether each transaction may run in another session, so that nothing can be left in one."""
    return connection.settings_dict.get(POOLING_KEY) == "transaction"


def enter_transaction(connection: BaseDatabaseWrapper) -> None:
    """Before the first statement of a transaction: give it its settings. Nothing happens otherwise."""
    native = connection.connection
    if connection.in_atomic_block and native.info.transaction_status == TransactionStatus.IDLE:
        _apply(connection, for_transaction=True)


def _apply(connection: BaseDatabaseWrapper, *, for_transaction: bool) -> None:
    settings = connection.settings_dict.get(SETTINGS_KEY, {})
    calls = ", ".join(f"set_config(%s, %s, {str(for_transaction).lower()})" for _ in settings)
    if calls:
        with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as native:
            native.execute(
                f"SELECT {calls}".encode(), [word for pair in settings.items() for word in pair], prepare=False
            )


def _enter_first(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    enter_transaction(context["connection"])
    return execute(sql, params, many, context)


def _set_up(connection: BaseDatabaseWrapper, **_: Any) -> None:
    pooling = connection.settings_dict.get(POOLING_KEY)
    if pooling == "session":
        _apply(connection, for_transaction=False)
    elif pooling == "transaction" and _enter_first not in connection.execute_wrappers:
        connection.execute_wrappers.append(_enter_first)


def set_up_pooled_connections() -> None:
    """Have every connection through a pooler, opened from now on, set up."""
    connection_created.connect(_set_up, dispatch_uid="nexus.pooling")
