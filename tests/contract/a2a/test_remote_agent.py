"""A remote agent as a member of a chat, over real HTTP: asked once, whatever is cut, and never led elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest

from agents.adapters import a2a_remote
from agents.adapters.a2a import A2AAgent
from agents.api import AgentTeamBuilder, ReliableNexusGroupChatManager
from messaging.api import ConfigurationError, ReliableCommunicationBus, registry
from messaging.directory.names import save_registered_agents
from messaging.models import DeadLetter
from messaging.testing import drain
from tests.support.remote_agent import PlayedRemote, State
from tests.support.secret_scan import plant

TOKEN = plant("the token of a remote agent", "remote/0123456789")


def echo(message: dict[str, Any]) -> list[State]:
    return [("WORKING", ""), ("COMPLETED", f"re: {message['parts'][0]['text']}")]


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedRemote]:
    monkeypatch.setattr(a2a_remote, "FIRST_PAUSE", 0.0)
    monkeypatch.setenv("REMOTE_TOKEN", TOKEN)
    with PlayedRemote(echo) as running:
        A2AAgent("remote", running.url, key_variable="REMOTE_TOKEN", patience=0.05, silence=5.0).register()
        save_registered_agents()
        ReliableCommunicationBus().register_agent("customer")
        yield running
    registry.remove("remote")


def converse(*texts: str, allow_dead_letters: bool = False) -> tuple[ReliableNexusGroupChatManager, UUID]:
    """A chat of the remote agent and ``echo``; the rest of the texts is said into it turn by turn."""
    bus = ReliableCommunicationBus()
    definition = {"name": "t", "members": ["remote"], "termination": {"max_rounds": len(texts)}}
    manager = ReliableNexusGroupChatManager(bus)
    chat = manager.start_chat(AgentTeamBuilder(bus).build_team(definition), texts[0])
    for text in texts[1:]:
        manager.say(chat, text)
    drain(allow_dead_letters=allow_dead_letters)
    return manager, chat


def said(manager: ReliableNexusGroupChatManager, chat: UUID) -> list[str]:
    return [entry.content for entry in manager.transcript(chat) if entry.speaker == "remote"]


def test_it_speaks_in_one_context(remote: PlayedRemote) -> None:
    manager, chat = converse("hello", "and?")
    assert said(manager, chat)[0].startswith("re: user: hello")
    assert manager.transcript(chat)[-1].data == {"n": 2}
    assert [message.get("contextId") for message in remote.worked] == [None, "context-1"]
    assert {header["a2a-version"] for header in remote.headers} == {"1.0"}
    assert {header["authorization"] for header in remote.headers} == {f"Bearer {TOKEN}"}


def cut(handler: Any) -> None:
    handler.close_connection = True
    handler.connection.close()


def busy(handler: Any) -> None:
    handler.reply(503, {"no": 1}, retry_after="3")


@pytest.mark.parametrize("fault", [cut, busy, lambda handler: handler.reply(200, [1])], ids=["cut", "busy", "garbled"])
def test_an_answer_that_is_lost_repeats_no_work(remote: PlayedRemote, fault: Callable[[Any], None]) -> None:
    """As when the worker dies between the remote's work and the commit: the same message, with the same id."""
    remote.faults = [fault]
    manager, chat = converse("hello")
    assert len(said(manager, chat)) == 1
    assert len(remote.worked) == 1
    assert remote.received.count("SendMessage") == 2


def test_what_was_sent_is_not_sent_again_while_the_remote_works(
    remote: PlayedRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote.play = lambda message: [("WORKING", "")] * 4 + [("AUTH_REQUIRED", "")] * 2 + [("COMPLETED", "done")]
    monkeypatch.setattr(a2a_remote, "LONGEST_PAUSE", 0.03)
    manager, chat = converse("hello")
    assert said(manager, chat) == ["done"]
    assert remote.received.count("SendMessage") == 1


def test_a_question_of_the_remote_is_what_it_says_and_is_answered_in_the_same_task(remote: PlayedRemote) -> None:
    remote.play = lambda message: [("COMPLETED", "blue") if "taskId" in message else ("INPUT_REQUIRED", "Which?")]
    manager, chat = converse("hello", "blue, please")
    assert said(manager, chat) == ["Which?", "blue"]
    assert manager.transcript(chat)[-2].data["state"] == "TASK_STATE_INPUT_REQUIRED"
    assert [message.get("taskId") for message in remote.worked] == [None, "task-1"]


def test_a_task_that_the_remote_forgot_is_begun_anew(remote: PlayedRemote) -> None:
    remote.play = lambda message: [("INPUT_REQUIRED", "Which?")]
    bus = ReliableCommunicationBus()
    workflow = bus.start_workflow("w")
    for text in ("hello", "blue"):
        bus.send(workflow, "remote", "ask", text, sender="customer")
        drain()
        remote.forget_tasks()
    assert [message["parts"][0]["text"] for message in remote.worked] == ["hello", "blue"]
    assert [(message.get("taskId"), message.get("contextId")) for message in remote.worked] == [
        (None, None),
        (None, "context-1"),
    ]


@pytest.mark.parametrize("state", ["FAILED", "REJECTED", "CANCELED"])
def test_what_the_remote_gave_up_is_a_dead_letter(remote: PlayedRemote, state: str) -> None:
    remote.play = lambda message: [(state, f"no, {TOKEN[:4]}")]
    converse("hello", allow_dead_letters=True)
    assert f"TASK_STATE_{state}: no" in DeadLetter.objects.get().detail


def test_a_token_is_never_told(remote: PlayedRemote) -> None:
    remote.faults = [lambda handler: handler.reply(401, {"you sent": TOKEN})]
    converse("hello", allow_dead_letters=True)
    detail = DeadLetter.objects.get().detail
    assert "401" in detail
    assert TOKEN not in detail


def test_nothing_leads_elsewhere(remote: PlayedRemote) -> None:
    def redirect(handler: Any) -> None:
        handler.reply(307, {}, location="http://169.254.169.254/")

    remote.faults = [redirect]
    converse("hello", allow_dead_letters=True)
    assert "307" in DeadLetter.objects.get().detail
    for url in ("http://169.254.169.254/rpc", "https://127.0.0.1/rpc", "file:///etc/passwd", "http://[", "None"):
        remote.endpoint = url
        A2AAgent("elsewhere", remote.url).register()
        save_registered_agents()
        bus = ReliableCommunicationBus()
        bus.send(bus.start_workflow("w"), "elsewhere", "ask", "x", sender="customer")
        drain(allow_dead_letters=True)
        registry.remove("elsewhere")
        assert "another origin" in DeadLetter.objects.latest("pk").detail, url
    for wrong in ("ftp://x/", "https://user:secret@x/", "https://x/?key=1", "x"):
        with pytest.raises(ConfigurationError):
            A2AAgent("wrong", wrong)


def test_a_remote_of_another_version_is_refused(remote: PlayedRemote) -> None:
    remote.version = "0.3.0"
    converse("hello", allow_dead_letters=True)
    assert "no JSON-RPC of A2A 1.0" in DeadLetter.objects.get().detail
    assert remote.worked == []
