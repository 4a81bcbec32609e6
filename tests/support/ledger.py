"""An account of what was handled that the system under test knows nothing of.

``record`` writes a row to a table of the tests' own inside the handler's transaction: it must be there exactly once for
each delivery that was handled. ``attempt`` writes to memory at once: it counts every call, committed or not.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from messaging.api import Envelope, HandlerContext

TABLE = "tests_ledger"


@dataclass(frozen=True, slots=True)
class Entry:
    """One handled delivery, as its handler saw it."""

    workflow: UUID
    agent: str
    sequence: int
    delivery: UUID


def create_table() -> None:
    """Make the table if it is missing."""
    with connection.cursor() as cursor:
        key = (
            "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
            if connection.vendor == "postgresql"
            else "integer PRIMARY KEY AUTOINCREMENT"
        )
        cursor.execute(
            f"CREATE TABLE IF NOT EXISTS {TABLE} (id {key}, workflow varchar(36) NOT NULL, agent varchar(100) NOT NULL,"
            " sequence bigint NOT NULL, delivery varchar(36) NOT NULL)"
        )


def write(message: Envelope, context: HandlerContext) -> None:
    """Append a row, in the transaction that is open."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {TABLE} (workflow, agent, sequence, delivery) VALUES (%s, %s, %s, %s)",
            [str(message.workflow_id), context.agent, message.sequence_number, str(context.delivery_id)],
        )


def read() -> list[Entry]:
    """All rows, in the order in which they were written."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT workflow, agent, sequence, delivery FROM {TABLE} ORDER BY id")
        return [Entry(UUID(row[0]), row[1], row[2], UUID(row[3])) for row in cursor.fetchall()]


class Ledger:
    """The table, emptied, and the attempts of this process."""

    def __init__(self) -> None:
        create_table()
        self.clear()
        self.attempts: list[Entry] = []

    @staticmethod
    def clear() -> None:
        """Remove all rows."""
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {TABLE}")

    def attempt(self, message: Envelope, context: HandlerContext) -> None:
        """Count a call."""
        self.attempts.append(Entry(message.workflow_id, context.agent, message.sequence_number, context.delivery_id))

    @staticmethod
    def record(message: Envelope, context: HandlerContext) -> None:
        """Append a row, in the handler's transaction."""
        write(message, context)

    def handled(self, workflow: UUID, agent: str) -> list[int]:
        """Sequence numbers that an agent handled in a workflow, in the order in which it did."""
        return [entry.sequence for entry in read() if entry.workflow == workflow and entry.agent == agent]

    @staticmethod
    def doubles() -> list[UUID]:
        """Deliveries whose effects are there more than once."""
        return [delivery for delivery, count in Counter(entry.delivery for entry in read()).items() if count > 1]

    def tried(self, workflow: UUID, agent: str) -> list[int]:
        """The sequence numbers with which handlers were called, in order, failed calls too."""
        return [entry.sequence for entry in self.attempts if (entry.workflow, entry.agent) == (workflow, agent)]
