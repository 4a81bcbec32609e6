"""Running one statement and committing in the same round trip. PostgreSQL only.

By libpq's pipeline itself: psycopg's own costs more processor time than the round trip that it saves.
"""

from __future__ import annotations

import select
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from messaging.log import prepared, rows
from messaging.log.healing import TROUBLES, heal

LOOK_AGAIN = 1000
"""Milliseconds after which a silent connection is asked whether it is still there."""


def may_commit() -> bool:
    """Whether the ``atomic`` block that is open is the outermost, so that its end would commit, and the session is its
    own.
    """
    if not prepared.may_prepare():
        return False
    database = connections[DEFAULT_DB_ALIAS]
    # The savepoints are those of the blocks within the outermost.
    return (
        database.in_atomic_block
        and database.commit_on_exit
        and not database.savepoint_ids
        and not database.needs_rollback
    )


def run_and_commit(statement: rows.Fragment) -> None:
    """Run a statement that answers nothing, and commit: one round trip once the session has prepared it.

    Call it last in an ``atomic`` block that ``may_commit``: the end of the block finds the transaction over, and runs
    what waits for the commit. Whatever ran after it would be in a transaction of its own.

    Args:
        statement: its parameters are plain values, no arrays.

    Raises:
        django.db.Error: nothing is committed; what the commit itself refused is raised here, too. Where the connection
            is lost nobody knows, as with any commit.
    """
    database = connections[DEFAULT_DB_ALIAS]
    database.validate_no_broken_transaction()
    native = database.connection
    kept = prepared.from_placeholders("nexus_close", statement.sql)
    prepared.prepare(kept)
    name = prepared.session_name(kept).encode()
    values = [_value(value) for value in statement.parameters]
    formats = [isinstance(value, bytes) for value in statement.parameters]
    try:
        with database.wrap_database_errors, native.lock:
            try:
                results = _exchange(native.pgconn, name, values, [int(binary) for binary in formats])
            except BaseException:
                native.close()  # nobody could tell which answer belongs to what
                raise
            for result in results:
                if result.status == ExecStatus.FATAL_ERROR:
                    raise error_from_result(result, native.info.encoding)
            if [result.command_status for result in results][-1:] != [b"COMMIT"]:
                raise psycopg.InternalError("PostgreSQL did not commit. The transaction is rolled back.")
    except TROUBLES as error:
        heal(database, error)
        raise


def _exchange(connection: PGconn, name: bytes, values: list[bytes | None], formats: Sequence[int]) -> list[PGresult]:
    """Send both as one pipeline; return the answers."""
    connection.enter_pipeline_mode()
    connection.send_query_prepared(name, values, formats)
    connection.send_query_params(b"COMMIT", None)
    connection.pipeline_sync()
    poll = select.poll()
    poll.register(connection.socket, select.POLLIN | select.POLLOUT)
    while connection.flush():
        poll.poll(LOOK_AGAIN)
        connection.consume_input()  # the server may want to be read before it reads on
    poll.modify(connection.socket, select.POLLIN)
    results: list[PGresult] = []
    while True:
        while connection.is_busy():
            poll.poll(LOOK_AGAIN)
            connection.consume_input()
        result = connection.get_result()
        if connection.status == ConnStatus.BAD:
            raise psycopg.OperationalError(f"The connection is lost: {connection.get_error_message()}")
        if result is None:
            continue  # the end of one statement's answers
        if result.status == ExecStatus.PIPELINE_SYNC:
            break
        results.append(result)
    connection.exit_pipeline_mode()
    return results


def _value(value: Any) -> bytes | None:
    """A parameter as PostgreSQL reads it."""
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, UUID):
        return value.hex.encode()
    return (value.isoformat() if isinstance(value, datetime) else str(value)).encode()
