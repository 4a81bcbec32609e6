"""What passes the sending gate: one message that is to be sent, and what the steps may ask about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from messaging.core.messages import Outgoing
from messaging.directory.names import Recipient
from messaging.log import WorkflowRow


@dataclass(slots=True)
class Draft:
    """One message on its way through the sending gate.

    Args:
        outgoing: as asked for; ``sanitize`` puts one with cleaned data in its place.
        recipients: the agents that get it; set by ``names``.
    """

    outgoing: Outgoing
    recipients: list[Recipient] = field(default_factory=list)


class Ground(Protocol):
    """What a bus tells the steps about where its messages go."""

    def resolve(self, name: str, *, sender: str) -> list[Recipient]:
        """The agents behind an agent's or a group's name.

        Raises:
            UnknownAgent: there is none.
        """

    def workflow(self, identifier: UUID) -> WorkflowRow | None:
        """The workflow, locked where others could change it; None where there is none."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """A mailbox after the messages at hand were counted into it."""

    workflow_id: UUID
    agent: str
    unhandled: int
