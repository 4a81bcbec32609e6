"""What passes the sending gate: one message that is to be sent, and what the steps may ask about it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from messaging.core.labels import NO_LABELS, Labels
from messaging.core.messages import Outgoing
from messaging.core.registry import AgentSpec
from messaging.directory.names import Recipient
from messaging.log import WorkflowRow
from messaging.security.access.holding import Decider
from messaging.security.encryption.keys import KnownSecret
from messaging.security.schemas.validation import SchemaChecker


@dataclass(slots=True)
class Draft:
    """One message on its way through the sending gate.

    Args:
        outgoing: as asked for; ``sanitize`` puts one with cleaned data in its place.
        recipients: the agents that get it; set by ``names``.
        data_schema: URI of the schema that its data follow; set by ``validate_drafts``, None where its type has none.
        labels: of the message; set by ``label``.
        key: what its data are encrypted with; set before they are numbered, None where they are not.
        lowered_from: what they would be without its extraction; set by ``label``, None without one.
    """

    outgoing: Outgoing
    recipients: list[Recipient] = field(default_factory=list)
    data_schema: str | None = None
    labels: Labels = NO_LABELS
    lowered_from: Labels | None = None
    key: KnownSecret | None = None


class Ground(Protocol):
    """What a bus tells the steps about where its messages go."""

    def resolve(self, name: str, *, sender: str) -> list[Recipient]:
        """The agents behind an agent's or a group's name.

        Raises:
            UnknownAgent: there is none.
        """

    def workflow(self, identifier: UUID) -> WorkflowRow | None:
        """The workflow, locked where others could change it; None where there is none."""

    def agent(self, name: str) -> AgentSpec | None:
        """The agent of that name, where this process runs it."""

    def labels_of(self, message_ids: Collection[UUID]) -> Mapping[UUID, Labels]:
        """What messages that were sent before count as; those without labels are left out."""

    def checker(self) -> SchemaChecker:
        """What checks messages against the schemas of this bus.

        Raises:
            SchemaError: they cannot be read.
        """

    def decider(self) -> Decider | None:
        """What decides by the access policy of this bus; None where there is no policy, so that all is allowed.

        Raises:
            AccessPolicyError: the policy cannot work.
        """


@dataclass(frozen=True, slots=True)
class Backlog:
    """A mailbox after the messages at hand were counted into it."""

    workflow_id: UUID
    agent: str
    unhandled: int
