"""The ledger: what was promised and what really happened, counted without any help from Nexus.

``soak_sent``, ``soak_saga`` and ``soak_refused`` are written in the sender's transactions, ``soak_effect`` and
``soak_movement`` in the handlers'. The ids of effects rise in the
order in which they were committed within a mailbox, because Nexus handles one transaction of a workflow at a time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psycopg

from bench.soak.names import BANKS, OUTSIDE_EVERY, SLOW_EVERY

_TABLES = (
    "CREATE TABLE soak_sent (workflow text NOT NULL, number bigint NOT NULL, sent_at double precision NOT NULL,"
    " PRIMARY KEY (workflow, number))",
    "CREATE TABLE soak_effect (id {serial}, agent text NOT NULL, workflow text NOT NULL, number bigint NOT NULL,"
    " sent_at double precision NOT NULL, handled_at double precision NOT NULL)",
    "CREATE TABLE soak_saga (saga text PRIMARY KEY)",
    "CREATE TABLE soak_movement (saga text NOT NULL, account text NOT NULL, amount bigint NOT NULL)",
    "CREATE TABLE soak_refused (workflow text PRIMARY KEY, reason text NOT NULL)",
    "CREATE INDEX soak_effect_at ON soak_effect (agent, sent_at)",
    "CREATE INDEX soak_effect_key ON soak_effect (workflow, number, agent)",
)
_EXPECTED = (
    "SELECT 'first' AS agent, workflow, number FROM soak_sent UNION ALL"
    " SELECT 'second', workflow, number FROM soak_sent UNION ALL"
    f" SELECT 'sink', workflow, number FROM soak_sent WHERE number % {SLOW_EVERY} = 0"
)
_EXPECTED_OUTSIDE = f" UNION ALL SELECT 'collect', workflow, number FROM soak_sent WHERE number % {OUTSIDE_EVERY} = 0"
_KEY = "e.agent = x.agent AND e.workflow = x.workflow AND e.number = x.number"


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Args: what the ledger says; ``examples`` are a few (agent, workflow, number) of what is wrong."""

    sent: int
    expected: int
    handled: int
    missing: int
    unexpected: int
    duplicated: int
    out_of_order: int
    examples: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaCount:
    """Args: sagas by how they ended; those whose money is wrong; banks that were paid twice for one."""

    begun: int
    completed: int
    compensated: int
    not_ended: int
    money_wrong: int
    paid_twice: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedCount:
    """Args: what was meant to be refused: how much was sent, stands parked with its reason, or was handled all the
    same; deliveries that were judged twice.
    """

    sent: int
    parked_with_reason: int
    handled: int
    judged_twice: int


class _Connection(Protocol):
    def execute(self, query: Any, parameters: Any = ..., /) -> Any: ...
    def close(self) -> None: ...


class SoakLedger:
    """Reads the ledger over a connection of its own, which it opens again when it breaks.

    Args:
        database: a PostgreSQL URL, or the path of an SQLite file.
        outside: a program outside takes part.
    """

    def __init__(self, database: str | Path, *, outside: bool = False) -> None:
        self._database = database
        self._owed = _EXPECTED + (_EXPECTED_OUTSIDE if outside else "")
        self._connection: _Connection | None = None

    def create(self) -> None:
        """Make the tables."""
        serial = "bigserial PRIMARY KEY" if isinstance(self._database, str) else "integer PRIMARY KEY AUTOINCREMENT"
        for statement in _TABLES:
            self.query(statement.format(serial=serial))

    def query(self, statement: str) -> list[Sequence[Any]]:
        """Run a statement; return its rows, if it has any.

        Raises:
            psycopg.Error, sqlite3.Error: it failed; the next call connects again.
        """
        try:
            if self._connection is None:
                self._connection = self._connect()
            cursor = self._connection.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []
        except (psycopg.Error, sqlite3.Error):
            self.close()
            raise

    def _connect(self) -> _Connection:
        if isinstance(self._database, Path):
            return sqlite3.connect(self._database, timeout=20, isolation_level=None)
        return psycopg.connect(self._database, autocommit=True, connect_timeout=3, options="-c statement_timeout=60000")

    def close(self) -> None:
        """Close the connection; the next query opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def handled_since(self, agent: str, sent_at: float) -> bool:
        """Whether an agent has handled something that was sent after a time."""
        return bool(self.query(f"SELECT 1 FROM soak_effect WHERE agent = '{agent}' AND sent_at > {sent_at} LIMIT 1"))

    def handled(self) -> int:
        """How many effects there are."""
        return int(self.query("SELECT count(*) FROM soak_effect")[0][0])

    def missing(self) -> int:
        """How many handlings are owed and not there."""
        return self._number(f"SELECT count(*) FROM ({self._owed}) x WHERE NOT {self._exists('soak_effect')}")

    def open_sagas(self) -> int:
        """How many have not ended."""
        return self._number(f"SELECT count(*) FROM ({self._sagas}) s WHERE status NOT IN ('completed', 'compensated')")

    @property
    def _sagas(self) -> str:
        key = "CAST(g.id AS text)" if isinstance(self._database, str) else "g.id"
        saga = "l.saga" if isinstance(self._database, str) else "replace(l.saga, '-', '')"
        return (
            "SELECT l.saga, coalesce(g.status, 'unknown') AS status"
            f" FROM soak_saga l LEFT JOIN nexus_saga g ON {key} = {saga}"
        )

    def count_sagas(self) -> SagaCount:
        """Count sagas, and the money that they moved."""
        found = self.query(f"SELECT status, count(*) FROM ({self._sagas}) s GROUP BY status")
        states: dict[str, int] = {row[0]: row[1] for row in found}
        # A completed one has paid every bank once, a compensated one nobody; the customer has what is missing.
        wrong = (
            f"SELECT s.saga FROM ({self._sagas}) s LEFT JOIN soak_movement m ON m.saga = s.saga"
            " GROUP BY s.saga, s.status"
            " HAVING coalesce(sum(m.amount), 0) <> 0 OR coalesce(sum(CASE WHEN m.account = 'customer' THEN 0 ELSE"
            f" m.amount END), 0) <> CASE WHEN s.status = 'completed' THEN {len(BANKS)} ELSE 0 END"
        )
        twice = (
            "SELECT saga FROM soak_movement WHERE account <> 'customer' GROUP BY saga, account, amount"
            " HAVING count(*) > 1"
        )
        return SagaCount(
            begun=sum(states.values()),
            completed=states.get("completed", 0),
            compensated=states.get("compensated", 0),
            not_ended=self.open_sagas(),
            money_wrong=self._number(f"SELECT count(*) FROM ({wrong}) w"),
            paid_twice=self._number(f"SELECT count(*) FROM ({twice}) t"),
        )

    def count_refused(self) -> RefusedCount:
        """Count what was meant to be refused. Of the server's database only."""
        parked = (
            "SELECT r.workflow FROM soak_refused r JOIN nexus_workflow w ON CAST(w.id AS text) = r.workflow"
            " JOIN nexus_delivery d ON d.workflow_id = w.id JOIN nexus_dead_letter l ON l.delivery_id = d.id"
            " WHERE w.status = 'parked' AND w.status_reason <> '' AND d.state = 'dead' AND l.status = 'open'"
            " AND l.reason = r.reason AND l.detail <> ''"
        )
        return RefusedCount(
            sent=self._number("SELECT count(*) FROM soak_refused"),
            parked_with_reason=self._number(f"SELECT count(DISTINCT workflow) FROM ({parked}) p"),
            handled=self._number("SELECT count(*) FROM soak_effect e JOIN soak_refused r ON r.workflow = e.workflow"),
            judged_twice=self._number(
                "SELECT count(*) FROM (SELECT delivery_id FROM nexus_verdict GROUP BY delivery_id"
                " HAVING count(*) > 1) t"
            ),
        )

    @staticmethod
    def _exists(table: str) -> str:
        return f"EXISTS (SELECT 1 FROM {table} e WHERE {_KEY})"

    def _number(self, statement: str) -> int:
        return int(self.query(statement)[0][0])

    def count(self) -> Count:
        """Count everything."""
        disordered = (
            "SELECT agent, workflow, number FROM (SELECT agent, workflow, number, lag(number) OVER"
            " (PARTITION BY agent, workflow ORDER BY id) AS before FROM soak_effect) o WHERE number < before"
        )
        doubled = "SELECT agent, workflow, number FROM soak_effect GROUP BY 1, 2, 3 HAVING count(*) > 1"
        lost = f"SELECT agent, workflow, number FROM ({self._owed}) x WHERE NOT {self._exists('soak_effect')}"
        examples = [
            f"{kind}: {row[0]} {row[1]} #{row[2]}"
            for kind, statement in (("missing", lost), ("duplicated", doubled), ("out of order", disordered))
            for row in self.query(f"{statement} ORDER BY 2, 3 LIMIT 5")
        ]
        return Count(
            sent=self._number("SELECT count(*) FROM soak_sent"),
            expected=self._number(f"SELECT count(*) FROM ({self._owed}) x"),
            handled=self.handled(),
            missing=self.missing(),
            unexpected=self._number(
                "SELECT count(*) FROM soak_effect x WHERE NOT EXISTS"
                " (SELECT 1 FROM soak_sent e WHERE e.workflow = x.workflow AND e.number = x.number)"
            ),
            duplicated=self._number(
                "SELECT (SELECT count(*) FROM soak_effect) -"
                " (SELECT count(*) FROM (SELECT DISTINCT agent, workflow, number FROM soak_effect) d)"
            ),
            out_of_order=self._number(f"SELECT count(*) FROM ({disordered}) d"),
            examples=examples,
        )
