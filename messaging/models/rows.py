"""Many rows in one statement, for PostgreSQL and SQLite alike.

The hot path runs a constant number of statements a batch; Django's ``bulk_create`` and ``bulk_update`` cost several
times as much and cannot say which rows were new. Both databases understand multi-row VALUES, ON CONFLICT and RETURNING
(SQLite since 3.35; a system check makes sure of it).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connection

Row = Sequence[Any]

# SQLite takes 32,766; longer lists are cut, on both databases, which also bounds the length of a statement.
MAX_PARAMETERS = 30_000


def on_postgres() -> bool:
    return connection.vendor == "postgresql"


def to_database(value: Any) -> Any:
    """A value as the database driver takes it (SQLite stores UUIDs as 32 hex digits and times as text)."""
    if isinstance(value, UUID):
        return value if on_postgres() else value.hex
    if isinstance(value, datetime) and not on_postgres():
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
    return value


def to_uuid(value: Any) -> UUID:
    """A UUID as it came from either database."""
    return value if isinstance(value, UUID) else UUID(value)


def to_datetime(value: Any) -> datetime | None:
    """A time as it came from either database."""
    if value is None or isinstance(value, datetime):
        return value
    return datetime.fromisoformat(value).replace(tzinfo=UTC)


def _adapt(values: Iterable[Any]) -> list[Any]:
    if on_postgres():
        return list(values)
    return [to_database(value) for value in values]


def placeholders(count: int) -> str:
    return "(" + ",".join(["%s"] * count) + ")"


def execute(sql: str, parameters: Iterable[Any] = ()) -> int:
    """Run a statement and return the number of rows it touched."""
    with connection.cursor() as cursor:
        cursor.execute(sql, _adapt(parameters))
        return int(cursor.rowcount)


def fetch(sql: str, parameters: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
    """Run a statement and return all its rows."""
    with connection.cursor() as cursor:
        cursor.execute(sql, _adapt(parameters))
        return list(cursor.fetchall())


def insert(
    table: str, columns: Sequence[str], rows: Sequence[Row], *, on_conflict: str = "", returning: str = ""
) -> list[tuple[Any, ...]]:
    """Insert rows; return what RETURNING gives, or nothing.

    Args:
        table: its name.
        columns: the columns' names.
        rows: the values, in the columns' order.
        on_conflict: an ON CONFLICT clause.
        returning: columns for a RETURNING clause.
    """
    result: list[tuple[Any, ...]] = []
    chunk = max(1, MAX_PARAMETERS // len(columns))
    for start in range(0, len(rows), chunk):
        part = rows[start : start + chunk]
        values = ",".join([placeholders(len(columns))] * len(part))
        sql = f"INSERT INTO {table} ({','.join(columns)}) VALUES {values} {on_conflict}"  # noqa: S608 - constants only
        parameters = [value for row in part for value in row]
        if returning:
            result += fetch(f"{sql} RETURNING {returning}", parameters)
        else:
            execute(sql, parameters)
    return result
