"""Checks of the database."""

from __future__ import annotations

import sqlite3
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.db import Error as DatabaseError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from messaging.checks.settings import server_kind

MIN_SQLITE = (3, 35)
MIN_POSTGRESQL = 140_000
READ_COMMITTED = "read committed"
POSTGRESQL, SQLITE = "postgresql", "sqlite"


def check_engine(**_: Any) -> list[CheckMessage]:
    """E006, E010, E012: the database is one that Nexus can be safe on."""
    kind = server_kind()
    if connection.vendor not in (POSTGRESQL, SQLITE):
        return [
            Error(
                f"The database is {connection.display_name}; the log is written for PostgreSQL and SQLite.",
                hint="Set DATABASE_URL=postgres://user:password@host/name.",
                id="nexus.E012",
            )
        ]
    if connection.vendor == POSTGRESQL:
        return []
    problems: list[CheckMessage] = []
    if sqlite3.sqlite_version_info < MIN_SQLITE:
        problems.append(
            Error(
                f"SQLite is {sqlite3.sqlite_version}, which has no RETURNING; 3.35 or later is needed.",
                hint="Use a newer Python or SQLite, or PostgreSQL (DATABASE_URL=postgres://…).",
                id="nexus.E010",
            )
        )
    if kind is not None and not django_settings.DEBUG:
        problems.append(
            Error(
                f"The broker is {kind.title} but the log is a SQLite file: workers on other hosts would have others.",
                hint=(
                    "Set DATABASE_URL=postgres://user:password@host/name. To try the broker out on one machine, "
                    "set DEBUG=1 instead."
                ),
                id="nexus.E006",
            )
        )
    if connection.settings_dict["OPTIONS"].get("transaction_mode") != "IMMEDIATE":
        problems.append(
            CheckWarning(
                "SQLite's transactions begin without the write lock: one that reads and then writes fails at once with "
                "'database is locked' whenever another process writes.",
                hint="Call messaging.django_settings.configure(globals()) at the end of the settings module.",
                id="nexus.W005",
            )
        )
    return problems


def check_isolation(**_: Any) -> list[CheckMessage]:
    """E020: transactions read what is committed; the log's statements are written for that."""
    if connection.vendor != POSTGRESQL:
        return []
    chosen: Any = connection.settings_dict["OPTIONS"].get("isolation_level")
    level = READ_COMMITTED if chosen is None else str(getattr(chosen, "name", chosen)).replace("_", " ").lower()
    return [] if level in (READ_COMMITTED, "2") else [_isolation_error(level)]


def check_server_isolation(**_: Any) -> list[CheckMessage]:
    """E020, as the server has it: by ``options`` of the URL, the role or the database."""
    if connection.vendor != POSTGRESQL:
        return []
    try:
        with connection.cursor() as cursor:
            cursor.execute("SHOW default_transaction_isolation")
            level = str(cursor.fetchone()[0])
    except DatabaseError as error:
        return [_unreachable(error)]
    return [] if level == READ_COMMITTED else [_isolation_error(level)]


def _isolation_error(level: str) -> CheckMessage:
    return Error(
        f"The database's transactions are {level}. The log locks rows and reads what is committed then; with {level}, "
        "most sends fail as soon as two of them meet.",
        hint="Take isolation_level out of OPTIONS and default_transaction_isolation out of DATABASE_URL, the role and "
        "the database. For stricter transactions of your own use a second alias in DATABASES.",
        id="nexus.E020",
    )


def _unreachable(error: Exception) -> CheckMessage:
    return CheckWarning(
        f"The database cannot be reached, so it was not checked: {str(error).strip()}",
        hint="Start it, or correct DATABASE_URL.",
        id="nexus.W003",
    )


def check_server_version(**_: Any) -> list[CheckMessage]:
    """E011: PostgreSQL has what the log's statements use."""
    if connection.vendor != POSTGRESQL:
        return []
    try:
        with connection.cursor() as cursor:
            cursor.execute("SHOW server_version_num")
            version = int(cursor.fetchone()[0])
    except DatabaseError as error:
        return [_unreachable(error)]
    if version >= MIN_POSTGRESQL:
        return []
    return [
        Error(
            f"PostgreSQL is {version // 10_000}.{version % 10_000}; 14 or later is needed.",
            hint="Upgrade PostgreSQL.",
            id="nexus.E011",
        )
    ]


def check_tables(**_: Any) -> list[CheckMessage]:
    """E017: every migration has been applied."""
    try:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        return [_unreachable(error)]
    if not missing:
        return []
    first = missing[0][0]
    return [
        Error(
            f"{len(missing)} migrations are not applied to the database, the first one {first.app_label}.{first.name}.",
            hint="Run: python manage.py migrate",
            id="nexus.E017",
        )
    ]
