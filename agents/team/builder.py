"""Building teams from Python, YAML, JSON and database rows, and running their chats over any bus."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from uuid import UUID

from agents.chat.hosts.managers import (
    ChatResult,
    NexusGroupChatManager,
    OnRequest,
    ReliableNexusGroupChatManager,
    meant,
)
from agents.chat.hosts.participant import Speak, participant
from agents.chat.rules.definitions import TeamDefinition
from agents.chat.rules.errors import DefinitionError
from agents.chat.rules.schema import read_file, read_team, read_text
from agents.models import Team
from agents.team.report import TeamReport, make_report
from messaging.api import CommunicationBus, HandlerKind, ReliableCommunicationBus, RetryPolicy

Definition = TeamDefinition | Mapping[str, Any] | Path | str
"""A definition; a mapping like its JSON; a file; or text: YAML or JSON, or else the name of a ``Team`` row."""


class AgentTeamBuilder:
    """Builds teams and runs their chats: in this process or durable, as the bus is.

    Args:
        bus: a new in-process bus by default.
    """

    def __init__(self, bus: CommunicationBus | None = None) -> None:
        self.bus = bus or CommunicationBus()
        self._manager: NexusGroupChatManager | None = None

    def add_agent(
        self,
        name: str,
        speak: Speak,
        *,
        kind: HandlerKind = HandlerKind.LEASED,
        description: str = "",
        retry: RetryPolicy | None = None,
    ) -> Self:
        """Register a member's agent with the bus.

        With a durable bus the workers need it as well: call this in a module that NEXUS_AGENTS names.

        Args:
            name: of the agent.
            speak: ``speak(turn)`` or ``speak(turn, context)``, returning a text or a ``Reply``; sync or async.
            kind: leased for what is slow or calls out, such as a language model; transactional for what is quick.
            description: for operators.
            retry: its retry policy.

        Raises:
            ConfigurationError: the name is taken, or the function cannot be called so.
        """
        self.bus.register_agent(name, participant(speak), kind=kind, description=description, retry=retry)
        return self

    def build_team(self, definition: Definition) -> TeamDefinition:
        """Read and check a definition, and that its agents are known.

        Args:
            definition: see ``Definition``.

        Raises:
            DefinitionError: what is wrong, in which line, and what is expected.
        """
        team = self._read(definition)
        unknown = self.bus.unknown_names(team.agents())
        if unknown:
            raise DefinitionError(
                f"team {team.name!r} has members whose agents are not known: {meant(unknown)}. "
                "Register them (add_agent, or <app>.nexus_agents for workers), or correct the names."
            )
        return team

    @staticmethod
    def _read(definition: Definition) -> TeamDefinition:
        if isinstance(definition, TeamDefinition):
            return read_team(definition.to_data())
        if isinstance(definition, Mapping):
            return read_team(dict(definition))
        if isinstance(definition, Path):
            return read_file(definition)
        if "\n" in definition or "{" in definition:
            return read_text(definition)
        row = Team.objects.filter(pk=definition).first()
        if row is None:
            known = ", ".join(Team.objects.order_by("name").values_list("name", flat=True)[:20]) or "none"
            raise DefinitionError(f"no team is stored as {definition!r}; stored are: {known}. For a file pass a Path.")
        return read_text(row.definition, f"team {row.name}")

    def save_team(self, definition: Definition) -> TeamDefinition:
        """Store a definition as a database row under its name, in place of an earlier one.

        Chats that run keep theirs.
        """
        team = self.build_team(definition)
        text = definition if isinstance(definition, str) and "\n" in definition else _as_json(team)
        Team.objects.update_or_create(name=team.name, defaults={"definition": text})
        return team

    def create_chat_manager(self) -> NexusGroupChatManager:
        """The manager for this bus: durable on a durable bus, otherwise in-process."""
        if self._manager is None:
            durable = isinstance(self.bus, ReliableCommunicationBus) and not self.bus.legacy_mode
            self._manager = (ReliableNexusGroupChatManager if durable else NexusGroupChatManager)(self.bus)
        return self._manager

    def run_team_chat(
        self, definition: Definition, task: str, *, timeout: float = 60.0, on_request: OnRequest | None = None
    ) -> ChatResult:
        """Build a team, start a chat and wait until it is over.

        Args:
            definition: see ``Definition``.
            task: what the chat is about.
            timeout: seconds to wait.
            on_request: answers for people meanwhile.

        Raises:
            DefinitionError: the team cannot work.
            ChatTimeout: the chat is not over; it goes on.
        """
        manager = self.create_chat_manager()
        return manager.run(self.build_team(definition), task, timeout=timeout, on_request=on_request)

    def get_team_report(self, chat: UUID) -> TeamReport:
        """Who did how much in a chat, what it cost and what it waits for.

        Raises:
            UnknownChat: there is none with that id.
        """
        return make_report(self.create_chat_manager(), chat)


def _as_json(team: TeamDefinition) -> str:
    return json.dumps(team.to_data(), indent=2, ensure_ascii=False)
