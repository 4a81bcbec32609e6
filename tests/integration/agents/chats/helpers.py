"""Teams and helpers of the tests of durable chats."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from agents.api import (
    Limits,
    MaxRounds,
    Member,
    ReliableNexusGroupChatManager,
    Reply,
    TeamDefinition,
    Turn,
    Usage,
    participant,
)
from agents.chat.hosts.session import wake_due_chats
from tests.support.lab import Lab

NAMES = ("a", "b", "c", "chooser")


def echo(turn: Turn) -> Reply:
    """Names the speaker, and lets ``chooser`` choose by counting."""
    if turn.speaker == "":
        return Reply(content=turn.members[len(turn.messages) % len(turn.members)].name)
    return Reply(content=f"{turn.speaker}:{turn.last[-30:]}", usage=Usage(10, 1, 0.25))


def register(lab: Lab, **speakers: Any) -> ReliableNexusGroupChatManager:
    """The agents of the tests; those that are not given echo."""
    for number, name in enumerate(NAMES):
        lab.agent(name, participant(speakers.get(name, echo)), leased=number % 2 == 0)
    return ReliableNexusGroupChatManager(lab.bus)


def members(*names: str, **fields: Any) -> tuple[Member, ...]:
    return tuple(Member(name=name, **fields) for name in names)


def until(lab: Lab, manager: ReliableNexusGroupChatManager, chat: UUID, *, step: float = 5.0) -> None:
    """Let time pass until the chat is over."""
    for _ in range(60):
        lab.publish()
        lab.work(2)
        wake_due_chats()
        if manager.view(chat).status != "running":
            return
        lab.relay_turn(after=step)
    raise AssertionError(f"not over: {manager.view(chat)}")


def approving(**limits: Any) -> TeamDefinition:
    return TeamDefinition(
        name="t", members=(Member(name="a", approval=True),), termination=MaxRounds(1), limits=Limits(**limits)
    )
