"""Statements that PostgreSQL keeps a plan of in the session, called by EXECUTE in a message of several statements.

Such a message takes no parameters, so psycopg prepares nothing of it, and PostgreSQL would plan each anew: for one
message that costs several times as much as running them.
"""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import MutableMapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from time import monotonic
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections

from messaging.log import rows
from messaging.log.literals import Value, literal
from messaging.log.pooling import pools_transactions

PLANNED_ANEW = 30.0
"""Seconds after which statements are prepared again: a plan that was made while a table was small reads it from end to
end, and nobody may have analysed it since."""

MAX_SHAPES = 256
"""Forms of statements that are remembered."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement that is called with values.

    Args:
        name: begins its name in the session.
        types: of its parameters, ``$1`` and so on; nothing where the statement itself says enough.
        sql: the statement.
    """

    name: str
    types: tuple[str, ...]
    sql: str


class _Session(threading.local):
    """What the connection of this thread has prepared: statement → (its name there, when)."""

    native: weakref.ref[psycopg.Connection[Any]] | None = None
    known: dict[Prepared, tuple[str, float]]


_session = _Session()
_numbers = count(1)


def may_prepare() -> bool:
    """Whether this thread's session is its own, and keeps what is prepared in it."""
    database = connections[DEFAULT_DB_ALIAS]
    if not rows.on_postgres() or pools_transactions(database):
        return False
    database.ensure_connection()
    return database.connection.prepare_threshold is not None and _names(database.connection) is not None


def _names(native: psycopg.Connection[Any]) -> MutableMapping[Any, bytes] | None:
    """psycopg's own list of what a session has prepared; None where there is no such thing.

    After every rollback psycopg deallocates all that is prepared, ours too, and clears this list; nothing else tells.
    """
    names = getattr(getattr(native, "_prepared", None), "_names", None)
    return names if isinstance(names, MutableMapping) else None


def prepare(*statements: Prepared) -> None:
    """See to it that the session of this thread has prepared statements: a round trip where it has not, or long ago.
    Ask ``may_prepare`` first.
    """
    native = connections[DEFAULT_DB_ALIAS].connection
    if _session.native is None or _session.native() is not native:
        _session.native, _session.known = weakref.ref(native), {}
    known, names, now = _session.known, _names(native), monotonic()
    there = {} if names is None else names
    wanted = [one for one in statements if one not in there or now - known[one][1] > PLANNED_ANEW]
    if not wanted:
        return
    named = {one: f"{one.name}_{next(_numbers)}" for one in wanted}
    rows.fetch_each(
        *(f"PREPARE {name} {_types_of(one)}AS {one.sql}" for one, name in named.items()),
        *(f"DEALLOCATE {known[one][0]}" for one in wanted if one in there),
    )
    known.update((one, (name, now)) for one, name in named.items())
    there.update((one, name.encode()) for one, name in named.items())


def _types_of(statement: Prepared) -> str:
    return f"({','.join(statement.types)}) " if statement.types else ""


@lru_cache(maxsize=MAX_SHAPES)
def from_placeholders(name: str, sql: str) -> Prepared:
    """A statement of the hot path, of which there are a few forms, with ``%s`` and ``%b`` for its parameters."""
    parts = re.split("%[sb]", sql)
    return Prepared(name, (), "".join(f"{part}${number}" for number, part in enumerate(parts[:-1], 1)) + parts[-1])


def session_name(statement: Prepared) -> str:
    """The name in this thread's session of a statement that was prepared last with ``prepare``."""
    return _session.known[statement][0]


def call(statement: Prepared, *values: Value) -> str:
    """The SQL that calls a statement which was prepared last with ``prepare``."""
    return f"EXECUTE {session_name(statement)} ({','.join(map(literal, values))})"
