"""A chat that cannot go on says so at once, and what it waits for."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client

from agents.api import ChatParked, ChatTimeout, Limits, MaxRounds, TeamDefinition, Turn
from agents.chat.rules.messages import MANAGER
from messaging.api import Envelope, HandlerContext, registry
from messaging.models import DeadLetter
from tests.integration.agents.chats.helpers import approving, members, register
from tests.support.lab import Lab


def fail(turn: Turn) -> str:
    raise ValueError("no words")


def team(**fields: Any) -> TeamDefinition:
    return TeamDefinition(name="t", members=members("a", "b"), termination=MaxRounds(6), **fields)


def test_run_returns_when_the_chat_parks(lab: Lab) -> None:
    """While it is waited for, too: a worker finds out in another thread."""
    manager = register(lab, a=fail)
    lab.configure(max_attempts=1)
    chat = manager.start_chat(team(), "go")
    problems: list[ChatTimeout] = []

    def wait() -> None:
        try:
            manager.wait(chat, timeout=600)
        except ChatTimeout as error:
            problems.append(error)
        finally:
            connections.close_all()

    waiter = threading.Thread(target=wait, daemon=True)
    waiter.start()
    lab.settle(step=0.2)
    waiter.join(60)
    (problem,) = problems
    assert isinstance(problem, ChatParked)
    assert "no words" in str(problem) or "dead letter" in str(problem)
    assert manager.view(chat).standing == "parked"
    assert DeadLetter.objects.get().agent == "a"
    with pytest.raises(ChatParked):
        manager.wait(chat, timeout=60)


def test_a_chat_that_skips_who_fails_does_not_park(lab: Lab) -> None:
    manager = register(lab, a=fail)
    lab.configure(max_attempts=1)
    limits = Limits(on_failure="skip", turn_timeout=1.0, attempts=1)
    chat = manager.start_chat(team(limits=limits), "go")
    lab.settle(step=0.2)
    assert not manager.view(chat).parked


def test_the_admin_says_for_what_a_chat_waits(lab: Lab) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("eve", password="x"))
    manager = register(lab, b=fail)
    lab.configure(max_attempts=1)
    asking = manager.start_chat(approving(), "go")
    failing = manager.start_chat(TeamDefinition(name="fails", members=members("b")), "go")
    lab.settle(step=0.2)
    rows = client.get("/admin/nexus_agents/chatsession/").content.decode()
    assert "Waiting for a person" in rows
    assert "Parked" in rows
    for chat, standing in ((asking, "Waiting for a person"), (failing, "Parked")):
        assert standing in client.get(f"/admin/nexus_agents/chatsession/{chat}/change/").content.decode()


@pytest.mark.parametrize("text", ["好" * 30_000, "x" * 200_000, "\x00" * 30_000])
def test_long_words_do_not_park_a_chat(lab: Lab, text: str) -> None:
    manager = register(lab, a=lambda turn: text, b=lambda turn: text)
    chat = manager.start_chat(team(), text)
    lab.settle(step=0.2)
    assert manager.wait(chat, timeout=1).rounds == 6


@pytest.mark.parametrize("lost", ["chat.start", "chat.said"])
def test_a_chat_ends_whose_managers_message_is_discarded(lab: Lab, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    """It would wait for ever for what will not come."""
    manager = register(lab)
    lab.configure(max_attempts=1)
    handle = registry.require(MANAGER).handler

    def broken(message: Envelope, context: HandlerContext) -> None:
        if message.type == lost:
            raise ValueError("a defect")
        handle(message, context)

    monkeypatch.setitem(registry._specs, MANAGER, replace(registry.require(MANAGER), handler=broken))
    chat = manager.start_chat(team(), "go")
    lab.settle(step=0.2)
    assert manager.view(chat).standing == "parked"
    lab.discard(DeadLetter.objects.get().pk)
    result = manager.wait(chat, timeout=1)
    assert result.status == "cancelled"
    assert lost in result.reason
    assert lab.bus.workflow_status(chat) == "cancelled"


def test_a_chat_goes_on_without_what_was_said_from_outside(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = register(lab)
    lab.configure(max_attempts=1)
    handle = registry.require(MANAGER).handler

    def broken(message: Envelope, context: HandlerContext) -> None:
        if message.type == "chat.say":
            raise ValueError("a defect")
        handle(message, context)

    monkeypatch.setitem(registry._specs, MANAGER, replace(registry.require(MANAGER), handler=broken))
    chat = manager.start_chat(team(), "go")
    manager.say(chat, "hello")
    lab.settle(step=0.2)
    lab.discard(DeadLetter.objects.get().pk)
    lab.settle(step=0.2)
    assert manager.wait(chat, timeout=1).rounds == 6
