"""Two databases of PostgreSQL with accounts, for two-phase commits: aliases bank_a and bank_b."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import dj_database_url
import psycopg
from django.db import connections
from psycopg import sql

from messaging.testing.servers.nodes import PostgresNode

ALIASES = ("bank_a", "bank_b")
TABLE = "CREATE TABLE IF NOT EXISTS movement (run text NOT NULL, amount integer NOT NULL)"


def connect(url: str) -> psycopg.Connection[tuple[object, ...]]:
    """A connection of the test's own."""
    return psycopg.connect(url, autocommit=True, connect_timeout=5)


def create_banks(nodes: dict[str, PostgresNode]) -> dict[str, str]:
    """Create the databases, each on its server; alias → URL. Those that are there are emptied."""
    urls = {}
    for alias, node in nodes.items():
        urls[alias] = node.url(alias)
        with connect(node.url()) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (alias,)).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(alias)))
        with connect(urls[alias]) as connection:
            connection.execute(TABLE)
            for xid in prepared_in(urls[alias]):
                connection.execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(xid)))
            connection.execute("TRUNCATE movement")
    return urls


def prepared_in(url: str) -> list[str]:
    """The names of the transactions that are prepared in a database."""
    with connect(url) as connection:
        rows = connection.execute("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()").fetchall()
    return [str(row[0]) for row in rows]


def movements(url: str) -> dict[str, list[int]]:
    """run → the amounts that moved in a database."""
    found: dict[str, list[int]] = {}
    with connect(url) as connection:
        for run, amount in connection.execute("SELECT run, amount FROM movement").fetchall():
            found.setdefault(str(run), []).append(int(str(amount)))
    return found


@contextmanager
def in_django(urls: dict[str, str]) -> Iterator[None]:
    """Have the databases in DATABASES."""
    added = {alias: {**dj_database_url.parse(url)} for alias, url in urls.items()}
    made = connections.configure_settings({"default": connections.settings["default"], **added})
    before = {alias: connections.settings.get(alias) for alias in urls}
    _put({alias: made[alias] for alias in urls})
    try:
        yield
    finally:
        _put(before)


def _put(databases: dict[str, Any]) -> None:
    for alias, settings in databases.items():
        with suppress(AttributeError):  # this thread never asked for it
            del connections[alias]
        connections.settings.pop(alias, None)
        if settings is not None:
            connections.settings[alias] = settings
