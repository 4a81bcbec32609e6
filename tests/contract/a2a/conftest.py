"""A team that speaks A2A, of a member that echoes, one that needs approval, and a person."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from django.core.cache import cache
from pytest_django.fixtures import Settings

from agents.api import AgentTeamBuilder, Reply, Turn
from messaging.api import HandlerKind, ReliableCommunicationBus
from messaging.directory import names as directory
from messaging.security.signatures import keys
from tests.support.a2a import TEAM, A2ACaller, forget, offer

MEMBERS = {
    "echo": {"name": "echo"},
    "draft": {"name": "draft", "agent": "echo", "approval": True},
    "anna": {"name": "anna", "human": True},
}


@pytest.fixture(autouse=True)
def team(db: None, settings: Settings) -> Iterator[None]:
    """The team, with one turn of ``echo``."""
    settings.NEXUS = {"BROKER_URL": f"memory://{uuid4()}", "MAX_MESSAGE_BYTES": 8_000, "A2A_TEAMS": f"{TEAM}, other"}
    directory.forget()
    keys.forget()
    cache.clear()

    def speak(turn: Turn) -> Reply:
        return Reply(content=f"{turn.speaker}: {turn.last}", data={"turn": turn.turn})

    builder = AgentTeamBuilder(ReliableCommunicationBus())
    builder.add_agent("echo", speak, kind=HandlerKind.TRANSACTIONAL)
    for name in (TEAM, "other"):
        hold("echo", name=name)
    yield
    forget("echo")
    cache.clear()


def hold(*members: str, name: str = TEAM) -> None:
    """Store the team with these members, each of whom speaks once."""
    rules = {"description": "Writes things.", "termination": {"max_rounds": len(members)}}
    offer({"members": [MEMBERS[member] for member in members], **rules}, name)


@pytest.fixture
def client(team: None) -> A2ACaller:
    """A token that may do everything."""
    return A2ACaller()
