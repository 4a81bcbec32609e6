"""Many rows in one statement, for PostgreSQL and SQLite alike.

The hot path runs a constant number of statements a batch; Django's ``bulk_create`` and ``bulk_update`` cost several
times as much and cannot say which rows were new. Both databases understand ON CONFLICT, RETURNING and UPDATE … FROM
(SQLite since 3.35; a system check makes sure of it). Only the way in which a list of rows is passed differs:

* PostgreSQL: one array a column, ``unnest(%s::uuid[], %s::bigint[])``. The text of a statement is then always the same,
  whatever the batch's size, so that it can be parsed and planned once. Only statements whose plan cannot be wrong are
  prepared so: what inserts, or finds single rows by their keys. A plan for a list of keys that was made while a table
  was small would go on reading it from end to end.
* SQLite: ``VALUES (?,?),(?,?)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

import psycopg
from django.db import DEFAULT_DB_ALIAS, connection, connections
from psycopg.pq import ExecStatus, TransactionStatus

from messaging.log.healing import TROUBLES, heal
from messaging.log.pooling import enter_transaction, pools_transactions

Row = Sequence[Any]
Type = Literal["uuid", "bigint", "smallint", "double precision", "text", "bytea", "jsonb", "timestamptz"]
Columns = Sequence[tuple[str, Type]]

# SQLite takes 32,766 parameters; longer lists are cut.
MAX_PARAMETERS = 30_000


@dataclass(slots=True)
class Fragment:
    """A piece of SQL with its parameters."""

    sql: str
    parameters: list[Any] = field(default_factory=list)


def on_postgres() -> bool:
    return connection.vendor == "postgresql"


def to_database(value: Any) -> Any:
    """A value as SQLite stores it: UUIDs as 32 hex digits, times as text in UTC."""
    if isinstance(value, UUID):
        return value.hex
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
    return value


def to_uuid(value: Any) -> UUID:
    """A UUID as it came from either database."""
    return value if isinstance(value, UUID) else UUID(value)


def to_datetime(value: Any) -> datetime | None:
    """A time as it came from either database."""
    if value is None:
        return None
    time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)  # SQLite's come without


def array(items: Iterable[Any], type: Type) -> Any:
    """A column as a parameter. Array literals of plain values are much cheaper than psycopg's adapted lists."""
    match type:
        case "bytea":
            return list(items)
        case "text" | "jsonb":
            text = ",".join(["NULL" if item is None else _quoted(item) for item in items])
        case "uuid":
            text = ",".join(["NULL" if item is None else item.hex for item in items])
        case "timestamptz":
            text = ",".join(["NULL" if item is None else f'"{item.isoformat()}"' for item in items])
        case _:
            text = ",".join(["NULL" if item is None else str(item) for item in items])
    return f"{{{text}}}"


def _quoted(item: str) -> str:
    """A text as an array literal has it."""
    if "\\" in item or '"' in item:
        item = item.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{item}"'


def _placeholder(type: Type) -> str:
    return "%b::bytea[]" if type == "bytea" else f"%s::{type}[]"


def among(items: Iterable[Any], type: Type = "uuid") -> Fragment:
    """``= ANY(…)`` or ``IN (…)``: the condition that a column is one of the items."""
    if on_postgres():
        return Fragment(f"= ANY({_placeholder(type)})", [array(items, type)])
    values = list(items)
    return Fragment(f"IN ({','.join(['%s'] * len(values))})", values)


def table(types: Sequence[Type], rows: Sequence[Row]) -> Fragment:
    """Rows as a table ``v(column1, column2, …)`` for a FROM clause."""
    if on_postgres() and len(rows) == 1:  # arrays of one cost more than plain values: a send of one message is frequent
        values = ",".join(["%b::bytea" if type == "bytea" else f"%s::{type}" for type in types])
        return Fragment(f"(VALUES ({values})) AS v", list(rows[0]))
    if on_postgres():
        arrays = ",".join(_placeholder(type) for type in types)
        names = ",".join(f"column{number}" for number in range(1, len(types) + 1))
        columns = zip(*rows, strict=True)
        return Fragment(
            f"unnest({arrays}) AS v({names})",
            [array(column, type) for column, type in zip(columns, types, strict=True)],
        )
    values = ",".join([f"({','.join(['%s'] * len(types))})"] * len(rows))
    return Fragment(f"(VALUES {values}) AS v", [value for row in rows for value in row])


def joined(fragments: Sequence[Fragment]) -> Fragment:
    """Statements that change different rows and answer nothing, as one statement. PostgreSQL only."""
    *beside, last = fragments
    with_them = ", ".join([f"s{number} AS ({each.sql})" for number, each in enumerate(beside)])
    return Fragment(
        f"WITH {with_them} {last.sql}" if beside else last.sql,
        [value for each in fragments for value in each.parameters],
    )


def ids_literal(ids: Iterable[UUID]) -> str:
    """UUIDs as SQL, for statements without parameters. PostgreSQL only."""
    return f"'{{{','.join([identifier.hex for identifier in ids])}}}'::uuid[]"


def execute(sql: str, parameters: Iterable[Any] = (), *, prepare: bool = False) -> int:
    """Run a statement and return the number of rows it touched.

    Args:
        sql: the statement.
        parameters: its parameters.
        prepare: let PostgreSQL keep its plan in this session; for statements that no table's size gives another plan.
    """
    return _run(sql, parameters, fetch=False, prepare=prepare)[0]


def delete_by_id(table: str, ids: Sequence[UUID]) -> int:
    """Delete rows by their primary keys, and nothing that refers to them; return how many."""
    if not ids:
        return 0
    chosen = among(ids)
    return execute(f"DELETE FROM {table} WHERE id {chosen.sql}", chosen.parameters)


def fetch(sql: str, parameters: Iterable[Any] = (), *, prepare: bool = False) -> list[tuple[Any, ...]]:
    """Run a statement and return all its rows. See ``execute``."""
    return _run(sql, parameters, fetch=True, prepare=prepare)[1]


def fetch_each(*statements: str) -> list[list[tuple[Any, ...]]]:
    """Run statements without parameters in one round trip, each with a snapshot of its own; return the rows of each.
    The first of a transaction take its BEGIN along. PostgreSQL only.
    """
    database = connections[DEFAULT_DB_ALIAS]
    database.ensure_connection()
    database.validate_no_broken_transaction()
    try:
        if pools_transactions(database):
            enter_transaction(database)
        with (
            database.wrap_database_errors,
            _beginning(database.connection) as begin,
            psycopg.Cursor(database.connection) as native,
        ):
            native.execute(begin + "; ".join(statements).encode())
            if begin:
                native.nextset()
            found = [_rows_of(native)]
            while native.nextset():
                found.append(_rows_of(native))
            return found
    except TROUBLES as error:
        heal(database, error)
        raise


@contextmanager
def _beginning(native: psycopg.Connection[Any]) -> Iterator[bytes]:
    """What opens the transaction that is due, for the same message as its first statement; empty in an open one.

    Left to itself psycopg sends BEGIN in a message of its own, and waits for its answer.
    """
    idle = not native.autocommit and native.info.transaction_status == TransactionStatus.IDLE
    if not idle or not hasattr(native, "_autocommit") or not hasattr(native, "_get_tx_start_command"):
        yield b""  # a psycopg without these sends BEGIN by itself: a round trip more
        return
    native._autocommit = True
    try:
        yield native._get_tx_start_command() + b"; "
    finally:
        native._autocommit = False


def _rows_of(native: psycopg.Cursor[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    # Not its description: that makes an object of every column.
    result = native.pgresult
    return native.fetchall() if result is not None and result.status == ExecStatus.TUPLES_OK else []


def _run(
    sql: str, parameters: Iterable[Any], *, fetch: bool, prepare: bool = False
) -> tuple[int, list[tuple[Any, ...]]]:
    if not on_postgres():
        with connection.cursor() as cursor:
            cursor.execute(sql, [to_database(value) for value in parameters])
            return cursor.rowcount, cursor.fetchall() if fetch else []
    # Django's own cursor binds parameters on the client and prepares nothing.
    database = connections[DEFAULT_DB_ALIAS]
    database.ensure_connection()
    database.validate_no_broken_transaction()
    pooled = pools_transactions(database)
    try:
        if pooled:
            enter_transaction(database)
        with database.wrap_database_errors, psycopg.Cursor(database.connection) as native:
            native.execute(sql.encode(), list(parameters), prepare=prepare and not pooled)
            return native.rowcount, native.fetchall() if fetch else []
    except TROUBLES as error:
        heal(database, error)
        raise


def insert(
    into: str, columns: Columns, rows: Sequence[Row], *, on_conflict: str = "", returning: str = ""
) -> list[tuple[Any, ...]]:
    """Insert rows; return what RETURNING gives, or nothing.

    Args:
        into: name of the table.
        columns: names and types.
        rows: the values, in the columns' order.
        on_conflict: an ON CONFLICT clause.
        returning: columns for a RETURNING clause.
    """
    names = ",".join(name for name, _ in columns)
    types = [type for _, type in columns]
    result: list[tuple[Any, ...]] = []
    chunk = max(1, MAX_PARAMETERS // len(columns))
    for start in range(0, len(rows), chunk):
        source = table(types, rows[start : start + chunk])
        # "WHERE true" tells SQLite's parser that ON CONFLICT is no join condition.
        sql = f"INSERT INTO {into} ({names}) SELECT * FROM {source.sql} WHERE true {on_conflict}"
        if returning:
            result += fetch(f"{sql} RETURNING {returning}", source.parameters, prepare=True)
        else:
            execute(sql, source.parameters, prepare=True)
    return result
