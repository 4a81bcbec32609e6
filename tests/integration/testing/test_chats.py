"""Chats with scripted models run to their end in an ordinary test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Group

from agents import (
    AssistantAgent,
    MaxMessages,
    Member,
    ReliableNexusGroupChatManager,
    ScriptedClient,
    TeamDefinition,
    TextMention,
    Tool,
    ToolRequest,
)
from messaging.api import registry
from messaging.testing import drain

NAMES = ("scripted-writer", "scripted-editor")


@pytest.fixture
def team(db: None) -> Iterator[TeamDefinition]:
    """A writer with a tool that uses the database, and an editor who is content with the second draft."""

    def save(name: str) -> str:
        """Keep a draft."""
        Group.objects.create(name=name)
        return f"kept {Group.objects.filter(name=name).count()}"

    script: list[str | ToolRequest] = [ToolRequest("1", "save", '{"name": "first"}'), "Draft one.", "Draft two."]
    AssistantAgent(NAMES[0], ScriptedClient(script), tools=[Tool(save)]).register()
    AssistantAgent(NAMES[1], ScriptedClient(["Shorter, please.", "APPROVED"])).register()
    yield TeamDefinition(
        name="article",
        members=tuple(Member(name=name) for name in NAMES),
        termination=TextMention("APPROVED") | MaxMessages(20),
    )
    for name in NAMES:
        registry.remove(name)


def test_a_chat_runs_to_its_end(team: TeamDefinition) -> None:
    manager = ReliableNexusGroupChatManager()
    chat = manager.start_chat(team, "An article about queues.")
    with pytest.raises(RuntimeError, match=r"messaging\.testing\.drain"):
        manager.wait(chat, timeout=1)
    report = drain()
    result = manager.wait(chat, timeout=1)
    assert [said.content for said in result.transcript] == [
        "An article about queues.",
        "Draft one.",
        "Shorter, please.",
        "Draft two.",
        "APPROVED",
    ]
    assert not report.waiting
    assert Group.objects.filter(name="first").count() == 1
