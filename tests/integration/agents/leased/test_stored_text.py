"""Whatever text a model, a tool or a user comes up with is kept, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents.api import AssistantAgent, ScriptedClient, Tool, ToolRequest, request_approval
from agents.kinds import UserProxyAgent
from agents.models import Approval, ToolCall
from messaging.api import Envelope, HandlerContext
from messaging.extension import load_states
from messaging.models import DeadLetter, OnceResult
from tests.integration.agents.leased.test_leased_turns import QUICKLY, Add, add, replies, settle
from tests.support.lab import Lab

__all__ = ["add"]

ODD = ["a\x00b", "\x00", "nul \\u0000 written out", "half \ud83d", "\udfff\x00", "\x1b[0m", "\uffff", "😀"]

pytestmark = pytest.mark.usefixtures("raw_content")


def escaped(text: str) -> str:
    """As text stands in a column, and as a model is told it."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


@pytest.mark.parametrize("leased", [False, True])
def test_a_state_keeps_nul(lab: Lab, leased: bool) -> None:
    said = [text for text in ODD if text.isprintable() or "\x00" in text or text == "\uffff"]
    said = [text for text in said if text == text.encode("utf-8", "replace").decode()]

    def remember(message: Envelope, context: HandlerContext) -> None:
        context.state.setdefault("heard", []).append(message.data)
        context.state[message.data] = {"again": context.state.get(message.data)}

    lab.agent("memory", remember, leased=leased)
    workflow = lab.workflow()
    for text in said:
        lab.send(workflow, "memory", text)
    settle(lab)
    state = load_states([(workflow, "memory")])[workflow, "memory"]
    assert len(said) >= 5
    assert state["heard"] == said
    assert not DeadLetter.objects.exists()


@pytest.mark.parametrize("text", [text for text in ODD if "\ud83d" not in text and "\udfff" not in text])
def test_an_assistant_is_told_and_answers_anything(lab: Lab, add: Add, text: str) -> None:
    add(AssistantAgent("clerk", ScriptedClient(lambda messages: messages[-1].content), retry=QUICKLY))
    workflow = lab.workflow()
    lab.send(workflow, "clerk", text)
    lab.send(workflow, "clerk", {"text": text})
    settle(lab)
    assert [reply["text"] for reply in replies("clerk")] == [text, text]
    state = load_states([(workflow, "clerk")])[workflow, "clerk"]
    assert [message["content"] for message in state["messages"]] == [text] * 4


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize("how", ["returned", "raised", "in a list"])
def test_what_a_tool_says_is_told_as_it_was_the_first_time(lab: Lab, add: Add, text: str, how: str) -> None:
    calls: list[str] = []

    def look() -> Any:
        """Looks."""
        calls.append(text)
        if how == "raised":
            raise ValueError(text)
        return [text] if how == "in a list" else text

    def say(messages: Any) -> Any:
        told = [message.content for message in messages if message.role == "tool"]
        return json.dumps(told) if told else ToolRequest("1", "look", "{}")

    add(AssistantAgent("clerk", ScriptedClient(say), tools=[Tool(look)], retry=QUICKLY))
    lab.send(lab.workflow(), "clerk", "look")
    settle(lab)
    (reply,) = replies("clerk")
    (told,) = json.loads(reply["text"])
    assert "interrupted" not in told
    assert calls == [text]
    call = ToolCall.objects.get()
    assert call.status == ("finished" if how == "returned" else call.status)
    assert call.result == told
    if how != "in a list":
        assert escaped(text) in told


def test_an_error_that_cannot_be_printed_is_told(lab: Lab, add: Add) -> None:
    def look() -> str:
        """Looks."""
        raise Unprintable

    client = ScriptedClient(lambda m: m[-1].content if m[-1].role == "tool" else ToolRequest("1", "look", "{}"))
    add(AssistantAgent("clerk", client, tools=[Tool(look)], retry=QUICKLY))
    lab.send(lab.workflow(), "clerk", "look")
    settle(lab)
    assert replies("clerk")[0]["text"] == "look failed: Unprintable: it cannot be printed (RuntimeError)"


@pytest.mark.parametrize("odd", ["\x00", "\x00" * 300])
def test_arguments_and_ids_of_calls_may_hold_nul(lab: Lab, add: Add, odd: str) -> None:
    def look(page: str) -> str:
        """Looks."""
        return page

    def say(messages: Any) -> Any:
        told = [message for message in messages if message.role == "tool"]
        return "done" if told else ToolRequest(f"id{odd}", "look", json.dumps({"page": odd}) + odd[:1])

    add(AssistantAgent("clerk", ScriptedClient(say), tools=[Tool(look)], retry=QUICKLY))
    lab.send(lab.workflow(), "clerk", "look")
    settle(lab)
    assert replies("clerk")[0]["text"] == "done"
    assert "\\x00" in ToolCall.objects.get().arguments


def test_results_of_once_and_questions_to_people_may_hold_nul(lab: Lab, add: Add) -> None:
    def ask(message: Envelope, context: HandlerContext) -> None:
        context.reply(context.once("call", lambda: {"a\x00": "\x00"}))
        request_approval(context, "pay", "May\x00 I?", content="\x00", options=["yes\x00"])

    lab.agent("asker", ask, leased=True)
    add(UserProxyAgent("boss"))
    workflow = lab.workflow()
    lab.send(workflow, "asker")
    lab.send(workflow, "boss", {"\x00": "\x00"})
    settle(lab)
    assert replies("asker") == [{"a\x00": "\x00"}]
    assert OnceResult.objects.count() == 1
    asked = Approval.objects.get()
    assert (asked.question, asked.options) == ("May\\x00 I?", ["yes\\x00"])


@pytest.mark.parametrize("key", ["nul \x00", "k" * 300])
def test_a_key_of_an_approval_that_cannot_be_kept_is_refused(lab: Lab, key: str) -> None:
    lab.agent("asker", lambda message, context: request_approval(context, key, "May I?"))
    lab.send(lab.workflow(), "asker")
    settle(lab)
    assert "a key has at most" in DeadLetter.objects.get().detail
