"""Checks of the databases that take part in two-phase commits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.db import connections

from messaging.core.database_options import POOLING_KEY
from messaging.transactions.two_phase import prepared
from messaging.transactions.two_phase.definition import registered


def check_participants(**_: Any) -> list[CheckMessage]:
    """E022, W008: the databases of the registered definitions can keep a transaction prepared."""
    found: list[CheckMessage] = []
    for alias, who in sorted(_databases()):
        problem = prepared.alias_problem(alias)
        if problem:
            found.append(Error(f"{who}: {problem}", hint="Correct database=… or DATABASES.", id="nexus.E022"))
        elif connections[alias].settings_dict.get(POOLING_KEY) == "transaction":
            found.append(
                CheckWarning(
                    f"{who}: database {alias!r} is reached through a pooler of transactions. A prepared transaction "
                    "must be ended on the server, and by the role, that prepared it.",
                    hint="Make an alias that leads to the server itself, and name that one in database=….",
                    id="nexus.W008",
                )
            )
    return found


def check_prepared_transactions(**_: Any) -> list[CheckMessage]:
    """E023: the servers keep prepared transactions at all, which by default they do not."""
    found: list[CheckMessage] = []
    for alias in sorted({alias for alias, _ in _databases()}):
        if prepared.alias_problem(alias):
            continue
        try:
            with prepared.dedicated(alias) as native:
                row = native.execute("SHOW max_prepared_transactions").fetchone()
        except psycopg.Error as error:
            found.append(
                CheckWarning(
                    f"Database {alias!r} cannot be reached, so it was not checked: {str(error).strip()}",
                    hint="Start it, or correct DATABASES.",
                    id="nexus.W003",
                )
            )
            continue
        if row is None or int(row[0]) == 0:
            found.append(
                Error(
                    f"Database {alias!r} takes part in two-phase commits, and its max_prepared_transactions is 0: "
                    "every vote would be no.",
                    hint="Set max_prepared_transactions in postgresql.conf to as many as run at once, such as the "
                    "value of max_connections, and restart PostgreSQL; a replica needs at least as many.",
                    id="nexus.E023",
                )
            )
    return found


def _databases() -> Iterator[tuple[str, str]]:
    """(alias, which participant) of all definitions of this process."""
    for definition in registered():
        for name, participant in definition.participants.items():
            if participant.database:
                yield participant.database, f"Participant {name!r} of two-phase commit {definition.name!r}"
