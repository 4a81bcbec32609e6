"""What the sending gate may ask where messages go to the log."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from messaging import log
from messaging.core.labels import Labels
from messaging.core.registry import AgentSpec
from messaging.directory.external import find_spec
from messaging.directory.names import Recipient, resolve
from messaging.log.access import Epoch
from messaging.security.access.holding import Decider, foreseeing_decider, held_decider
from messaging.security.labels.stored import labels_of_messages
from messaging.security.schemas.current import installed_schemas
from messaging.security.schemas.validation import SchemaChecker


@dataclass(slots=True)
class DatabaseGround:
    """See ``messaging.gate.draft.Ground``: the locked workflows, the directory, and the log."""

    workflows: Mapping[UUID, log.WorkflowRow]

    def resolve(self, name: str, *, sender: str) -> list[Recipient]:
        return resolve(name, sender=sender)

    def workflow(self, identifier: UUID) -> log.WorkflowRow | None:
        return self.workflows.get(identifier)

    def agent(self, name: str) -> AgentSpec | None:
        return find_spec(name)

    def labels_of(self, message_ids: Collection[UUID]) -> Mapping[UUID, Labels]:
        return labels_of_messages(message_ids)

    def checker(self) -> SchemaChecker:
        return installed_schemas.checker()

    def decider(self) -> Decider | None:
        return held_decider()


@dataclass(slots=True)
class OneRecipientGround(DatabaseGround):
    """Where a message goes to one agent only, whether it is sent to that agent or to a group."""

    only: str

    def resolve(self, name: str, *, sender: str) -> list[Recipient]:
        return resolve(self.only, sender=sender)


@dataclass(slots=True)
class ForeseenGround(DatabaseGround):
    """Where the transaction is not open yet, and hopefully holds this policy."""

    epoch: Epoch

    def decider(self) -> Decider | None:
        return foreseeing_decider(self.epoch)
