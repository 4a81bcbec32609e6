"""What an assistant remembers is bounded by number, bytes and tokens; a model that finds it too long is given less."""

from __future__ import annotations

import asyncio
import doctest
import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.api import AssistantAgent, Bounds, ChatMessage, ContextTooLong, ScriptedClient, Summarise, Tool, Trim
from agents.llm import ModelRefused, ToolRequest, memory
from agents.llm.memory import SUMMARY, MemoryStrategy, count_tokens, trim
from messaging.api import CommunicationBus, ConfigurationError, TerminalError
from messaging.core.context import MAX_STATE_BYTES


def size(messages: Sequence[ChatMessage]) -> int:
    return len(msgspec.json.encode(list(messages)))


class Narrow:
    """A model that reads so many bytes, and refuses the rest as servers do.

    Args:
        most: bytes.
    """

    def __init__(self, most: int, answer: Any = None) -> None:
        self.most = most
        self.read: list[list[ChatMessage]] = []
        self.refused = 0
        self.client = ScriptedClient(self._say)
        self._answer = answer

    def _say(self, messages: Sequence[ChatMessage]) -> Any:
        if size(messages) > self.most:
            self.refused += 1
            return ContextTooLong(f"This model's maximum context length is {self.most}.", status=400)
        self.read.append(list(messages))
        return self._answer(messages) if self._answer else f"answer {len(self.read)}"


class Office:
    """An assistant that is asked in one workflow of a bus in this process."""

    def __init__(self, client: ScriptedClient, **settings: Any) -> None:
        self.bus = CommunicationBus()
        agent = AssistantAgent("clerk", client, **settings)
        self.bus.register_agent("clerk", agent.handle, kind=agent.spec.kind)
        self.bus.register_agent("desk")
        self.workflow: UUID = self.bus.start_workflow("talk")

    def ask(self, text: str) -> Any:
        return self.bus.request(self.workflow, "clerk", "ask", text, sender="desk").data

    @property
    def remembered(self) -> list[ChatMessage]:
        state = self.bus._backend._states[self.workflow, "clerk"]  # type: ignore[attr-defined]
        return msgspec.convert(state["messages"], list[ChatMessage])


def test_the_documentations_example() -> None:
    assert doctest.testmod(memory).failed == 0


@pytest.mark.parametrize("letter", ["x", "好", "\x00", '"', "😀"])
def test_long_answers_never_outgrow_the_state(letter: str) -> None:
    office = Office(ScriptedClient(lambda messages: letter * 40_000))
    for number in range(20):
        office.ask(f"question {number}")
    kept = office.remembered
    assert size(kept) <= Bounds().bytes + 2 < MAX_STATE_BYTES
    assert kept[0].role == "user"
    assert kept[-2].content == "question 19"


def test_a_model_that_reads_little_is_given_less_and_its_instructions_always() -> None:
    model = Narrow(4_000)
    office = Office(model.client, instructions="Be kind.")
    for number in range(30):
        office.ask(f"question {number} " + "x" * 300)
    assert office.ask("the last")["text"] == "answer 31"
    assert model.refused > 0
    last = model.read[-1]
    assert last[0] == ChatMessage("system", "Be kind.")
    assert last[-1].content == "the last"
    assert len(last) > 4, "not more than needed is forgotten"


def test_one_question_that_is_too_long_is_cut() -> None:
    model = Narrow(4_000)
    office = Office(model.client)
    assert office.ask("好" * 30_000)["text"] == "answer 1"
    assert model.read[0][-1].content.endswith("(cut)")


def test_the_results_of_tools_are_cut_and_no_tool_is_called_again() -> None:
    called: list[str] = []

    def look(page: str) -> str:
        """Reads a page."""
        called.append(page)
        return page * 9_000

    def answer(messages: Sequence[ChatMessage]) -> Any:
        done = sum(message.role == "tool" for message in messages)
        return ToolRequest(str(done), "look", json.dumps({"page": "abc"[done]})) if done < 3 else "read"

    model = Narrow(8_000, answer)
    assert Office(model.client, tools=[Tool(look)]).ask("read three pages")["text"] == "read"
    assert called == ["a", "b", "c"]
    assert model.read[-1][0].role == "user"


def test_a_model_that_reads_nothing_at_all_is_given_up() -> None:
    model = Narrow(10)
    with pytest.raises(ModelRefused, match="maximum context"):
        Office(model.client).ask("hello")
    assert 1 <= model.refused <= 12
    assert issubclass(ModelRefused, TerminalError)


def test_what_is_forgotten_is_summarised() -> None:
    asked: list[str] = []

    def summarise(messages: Sequence[ChatMessage]) -> str:
        asked.append(messages[-1].content)
        return f"summary {len(asked)}"

    office = Office(
        ScriptedClient(lambda messages: "y" * 500),
        instructions="Be kind.",
        memory=Summarise(ScriptedClient(summarise), Bounds(messages=6), words=50),
    )
    for number in range(8):
        office.ask(f"question {number}")
    kept = office.remembered
    assert kept[0] == ChatMessage("system", f"What was said before, in short: summary {len(asked)}", name=SUMMARY)
    assert "question 0" in asked[0]
    assert "summary 1" in asked[1], "what was summarised is not lost by the next summary"
    assert len(kept) <= 6
    assert kept[-2].content == "question 7"
    spent = office.ask("one more")["usage"]
    assert spent["output_tokens"] > 0


def test_an_answer_is_not_lost_with_its_summary() -> None:
    summariser = ScriptedClient(lambda messages: ModelRefused("no such model", status=404))
    office = Office(ScriptedClient(lambda messages: "fine"), memory=Summarise(summariser, Bounds(messages=2)))
    for number in range(3):
        assert office.ask(f"question {number}")["text"] == "fine"
    assert [message.content for message in office.remembered] == ["question 2", "fine"]


def test_a_strategy_of_ones_own() -> None:
    class Nothing(MemoryStrategy):
        async def compact(self, messages: Sequence[ChatMessage], bounds: Bounds, *, count_messages: bool = True) -> Any:
            kept, usage = await Trim().compact(messages, Bounds(messages=1))
            return kept, usage

    office = Office(ScriptedClient(lambda messages: "fine"), memory=Nothing(Bounds(messages=1)))
    office.ask("a")
    assert len(office.remembered) == 1


@pytest.mark.parametrize(
    "settings", [{"messages": 0}, {"bytes": 5}, {"bytes": 10**7}, {"tokens": -1}, {"tokens": True}]
)
def test_bounds_that_cannot_be(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="memory"):
        Bounds(**settings)


contents = st.text(max_size=300) | st.text(alphabet='好\x00"x', min_size=500, max_size=3_000)
conversations = st.lists(st.builds(ChatMessage, st.sampled_from(["user", "assistant", "tool"]), contents), max_size=12)


@given(conversations, st.integers(1, 8), st.integers(1_500, 20_000), st.integers(400, 5_000))
def test_whatever_was_said_is_trimmed_to_its_bounds(
    messages: list[ChatMessage], most: int, most_bytes: int, tokens: int
) -> None:
    head = [ChatMessage("system", "Be kind.")]
    bounds = Bounds(messages=most, bytes=most_bytes, tokens=tokens)
    kept = asyncio.run(Trim().compact([*head, *messages], bounds))[0]
    assert kept[0] == head[0]
    assert len(kept) - 1 <= most
    assert size(kept) <= most_bytes + 2
    assert sum(count_tokens(message.content) + 4 for message in kept) <= tokens
    last_user = next((message for message in reversed(messages) if message.role == "user"), None)
    if last_user is not None and most > 1:
        assert any(message.role == "user" for message in kept)
    assert trim(kept, bounds).kept == kept, "what fits stays as it is"
