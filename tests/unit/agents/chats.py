"""Chats in one process, for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agents.api import ChatResult, MaxRounds, Member, NexusGroupChatManager, Reply, TeamDefinition, Turn, participant

Speak = Callable[[Turn], str | Reply | None]


def manager_of(**speakers: Speak | list[str | Reply]) -> NexusGroupChatManager:
    """An in-process manager whose agents say what functions return, or one text after another."""
    manager = NexusGroupChatManager()
    for name, speak in speakers.items():
        manager.bus.register_agent(name, _handler(speak))
    return manager


def _handler(speak: Speak | list[str | Reply]) -> Callable[[Any, Any], Any]:
    if callable(speak):
        answered = participant(speak)

        def handle(message: Any, context: Any) -> None:
            try:
                answered(message, context)
            except Silence:
                return

        return handle
    lines = iter(speak)
    return participant(lambda turn: next(lines))


class Silence(Exception):
    """Raised by a member that does not answer."""


def echo(turn: Turn) -> str:
    """Names the speaker and what it heard."""
    return f"{turn.speaker}:{turn.last}"


def silent(turn: Turn) -> str:
    """Never answers."""
    raise Silence


def members(*names: str, **fields: Any) -> tuple[Member, ...]:
    """Plain members."""
    return tuple(Member(name=name, **fields) for name in names)


def run(manager: NexusGroupChatManager, team: TeamDefinition, task: str = "go") -> ChatResult:
    """Run a chat to its end."""
    return manager.run(team, task)


def team(*names: str, **fields: Any) -> TeamDefinition:
    fields.setdefault("termination", MaxRounds(2))
    return TeamDefinition(name="t", members=fields.pop("members", None) or members(*names), **fields)


def pairs(manager: NexusGroupChatManager, definition: TeamDefinition) -> list[tuple[str, str]]:
    return run(manager, definition).transcript.pairs()
