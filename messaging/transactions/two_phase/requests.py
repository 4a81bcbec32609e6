"""What participants get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg

from messaging.core.context import HandlerContext
from messaging.core.envelope import Envelope


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchRequest:
    """What a participant is asked for.

    Args:
        run: id of the two-phase commit, which is that of its workflow.
        participant: its name.
        input: what the run was started with.
        message, context: as every handler gets them.
        connection: the dedicated connection to the participant's database; None for an agent.
    """

    run: UUID
    participant: str
    input: Any
    message: Envelope
    context: HandlerContext
    connection: psycopg.Connection[Any] | None = None

    def execute(
        self, statement: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None
    ) -> psycopg.Cursor[Any]:
        """Run a statement in the transaction that is to be prepared, and return its cursor.

        Raises:
            TypeError: the participant has no database.
        """
        if self.connection is None:
            raise TypeError(f"Participant {self.participant!r} is an agent, without a database.")
        return self.connection.execute(statement.encode(), parameters)
