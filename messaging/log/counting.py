"""How many rows there are, for people: as few statements as possible, and none of them reads a long table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection
from django.db.models import QuerySet


def count_each(found: Sequence[QuerySet[Any]], limit: int) -> list[int]:
    """Count several sets of rows in one statement.

    Args:
        found: what to count; each should have an index, or be a whole table.
        limit: rows of each that are counted at most.

    Returns:
        The number of each, ``limit`` where there are more.
    """
    if not found:
        return []
    parts: list[str] = []
    values: list[Any] = []
    for each in found:
        sql, parameters = each.order_by().values("pk")[:limit].query.sql_with_params()
        parts.append(f"(SELECT COUNT(*) FROM ({sql}) AS counted)")
        values += parameters
    (row,) = _fetch(f"SELECT {', '.join(parts)}", values)  # nosec B608  # as Django wrote them
    return [int(number) for number in row]


def estimate_rows(tables: Sequence[str]) -> Mapping[str, int]:
    """About how many rows tables have, as PostgreSQL's last VACUUM or ANALYZE left it; nothing for other databases.

    Args:
        tables: their names.

    Returns:
        Table → rows; not for one that was never looked at.
    """
    if connection.vendor != "postgresql":
        return {}
    sql = "SELECT relname, reltuples FROM pg_class WHERE relname = ANY(%s) AND pg_table_is_visible(oid)"
    return {name: int(number) for name, number in _fetch(sql, [list(tables)]) if number >= 0}


def _fetch(sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    """By Django's cursor: its parameters are those of Django's own statements."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())
