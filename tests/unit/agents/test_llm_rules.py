"""Conversations, tools and scripts, without any server."""

from __future__ import annotations

import asyncio
import doctest
from importlib import import_module
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.llm import (
    ChatMessage,
    Completion,
    ModelClient,
    ModelGarbled,
    OpenAIClient,
    ResilientClient,
    ScriptedClient,
    Tool,
    ToolRequest,
    repair_history,
)
from agents.llm.tools import ToolArgumentsError
from agents.llm.wire import StreamReader
from messaging.api import ConfigurationError
from tests.support.model_server import Answer, stream_lines

USER = ChatMessage("user", "hi")


@pytest.mark.parametrize("module", ["types", "tools", "turn"])
def test_the_examples_in_the_documentation(module: str) -> None:
    result = doctest.testmod(import_module(f"agents.llm.{module}"))
    assert result.attempted > 0
    assert result.failed == 0


def test_the_clients_are_model_clients() -> None:
    scripted = ScriptedClient(["x"])
    for client in (scripted, ResilientClient(scripted), OpenAIClient("m", key_variable=None)):
        assert isinstance(client, ModelClient)


# --- repair of conversations ---

messages = st.one_of(
    st.builds(ChatMessage, st.sampled_from(["user", "system"]), st.text(max_size=3)),
    st.builds(
        ChatMessage,
        st.just("assistant"),
        st.text(max_size=3),
        tool_calls=st.lists(
            st.builds(ToolRequest, st.sampled_from("abc"), st.just("look"), st.just("{}")),
            max_size=3,
            unique_by=lambda call: call.id,
        ).map(tuple),
    ),
    st.builds(ChatMessage, st.just("tool"), st.text(max_size=3), tool_call_id=st.sampled_from("abcd")),
)


def is_acceptable(conversation: list[ChatMessage]) -> bool:
    """What servers demand: behind an assistant's calls their answers, each once, and no answers anywhere else."""
    open_calls: set[str | None] = set()
    for message in conversation:
        if message.role == "tool":
            if message.tool_call_id not in open_calls:
                return False
            open_calls.remove(message.tool_call_id)
        elif open_calls:
            return False
        else:
            open_calls = {call.id for call in message.tool_calls}
    return not open_calls


@given(st.lists(messages, max_size=12))
def test_a_repaired_conversation_is_acceptable_and_keeps_what_was_said(conversation: list[ChatMessage]) -> None:
    repaired = repair_history(conversation)
    assert is_acceptable(repaired)
    assert [m for m in repaired if m.role != "tool"] == [m for m in conversation if m.role != "tool"]
    assert repair_history(repaired) == repaired
    if is_acceptable(conversation):
        assert repaired == conversation


def test_messages_survive_json() -> None:
    message = ChatMessage("assistant", "x", tool_calls=(ToolRequest("1", "look", "{"),))
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(message)), ChatMessage) == message


# --- streams ---


def read(lines: list[str]) -> Completion:
    reader = StreamReader([USER])
    for line in lines:
        reader.feed(line)
    return reader.finish()


def test_a_stream_may_pause_comment_and_name_its_events() -> None:
    lines = b"".join(stream_lines(Answer(text="Grüße", tool_calls=(("1", "look", '{"a": 1}'),)))).decode().split("\n")
    noisy = [part for line in lines for part in (": ping", "event: message", "", line)]
    assert read(noisy) == read(lines)
    assert read(lines).message == ChatMessage("assistant", "Grüße", tool_calls=(ToolRequest("1", "look", '{"a": 1}'),))


@pytest.mark.parametrize("line", ["data: {", "data: []", 'data: {"choices": 5}', 'data: {"choices": [{"delta": 7}]}'])
def test_a_line_that_is_none(line: str) -> None:
    with pytest.raises(ModelGarbled):
        read([line])


def test_a_stream_of_endless_tool_calls_is_stopped() -> None:
    line = 'data: {"choices": [{"delta": {"tool_calls": [{"index": %d, "function": {"name": "x"}}]}}]}'
    with pytest.raises(ModelGarbled, match="more than 128 tools"):
        read([line % number for number in range(1_000)])


# --- scripts ---


def test_a_script_goes_by_what_was_said_and_needs_no_memory() -> None:
    async def talk(client: ScriptedClient) -> list[str]:
        conversation, said = [USER], []
        for _ in range(4):
            completion = await client.complete(conversation)
            conversation += [completion.message, USER]
            said.append(completion.message.content)
        return said

    assert asyncio.run(talk(ScriptedClient(["a", "b"]))) == ["a", "b", "b", "b"]
    assert asyncio.run(talk(ScriptedClient(["a", "b"], repeat=True))) == ["a", "b", "a", "b"]
    assert asyncio.run(talk(ScriptedClient(lambda messages: str(len(messages))))) == ["1", "3", "5", "7"]
    with pytest.raises(ValueError, match="one answer"):
        ScriptedClient([])
    with pytest.raises(OSError, match="down"):
        asyncio.run(talk(ScriptedClient([OSError("down")])))


# --- tools ---


class Place(msgspec.Struct):
    city: str
    zip: int | None = None


def look(place: Place, days: int = 1) -> dict[str, Any]:
    """Look at a place."""
    return {"city": place.city, "days": days}


def test_a_tool_is_described_and_called() -> None:
    tool = Tool(look)
    assert (tool.spec.name, tool.spec.description) == ("look", "Look at a place.")
    assert tool.spec.parameters["required"] == ["place"]
    assert "Place" in tool.spec.parameters["$defs"]
    assert asyncio.run(tool.call('{"place": {"city": "Bern"}}')) == '{"city":"Bern","days":1}'


async def say(text: str) -> str:
    return text


def test_an_async_tool_that_returns_text() -> None:
    assert asyncio.run(Tool(say, name="say-it").call('{"text": "hi"}')) == "hi"


@pytest.mark.parametrize(
    "arguments", ["{", "[]", "{}", '{"text": 5}', '{"text": "a", "more": 1}', '{"text": "\\ud800"}']
)
def test_arguments_that_do_not_fit_are_the_models_fault(arguments: str) -> None:
    with pytest.raises(ToolArgumentsError, match="arguments of say"):
        asyncio.run(Tool(say).call(arguments))


def untyped(text):  # type: ignore[no-untyped-def]
    return text


def starred(*texts: str) -> None: ...


@pytest.mark.parametrize("function", [untyped, starred, lambda text: text])
def test_functions_that_no_model_can_be_told_about(function: Any) -> None:
    with pytest.raises(ConfigurationError):
        Tool(function)
