"""An assistant: a model with instructions and tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from agents.chat.rules.messages import Usage
from agents.kinds.conversing import ConversingAgent, TextAnswer
from agents.kinds.text import plain
from agents.llm import ChatMessage, ModelClient, Tool, run_turn
from messaging.api import HandlerContext


class AssistantAgent(ConversingAgent):
    """Answers each message with what its model says, and remembers the conversation of each workflow.

    Args:
        name: unique among all agents and groups.
        client: the model.
        instructions: the system message.
        tools: what the model may call.
        memory: most messages that it remembers of a workflow; older ones are forgotten.
        max_rounds: most answers of the model to one message.
        prices: per million input and output tokens, for cost budgets.
        settings: see ``BaseAgent``.
    """

    def __init__(
        self,
        name: str,
        client: ModelClient,
        *,
        instructions: str = "",
        tools: Sequence[Tool] = (),
        memory: int = 100,
        max_rounds: int = 10,
        prices: tuple[float, float] = (0.0, 0.0),
        **settings: Any,
    ) -> None:
        super().__init__(name, **settings)
        self._client = client
        self._instructions = instructions
        self._tools = tuple(tools)
        self._memory = memory
        self._max_rounds = max_rounds
        self._prices = prices

    async def answer(self, text: str, context: HandlerContext, *, speaker: str) -> TextAnswer:
        remembered = msgspec.convert(context.state.get("messages", []), list[ChatMessage])
        asked = ChatMessage("user", text, name=_speaker(speaker))
        system = [ChatMessage("system", self._instructions)] if self._instructions else []
        result = await run_turn(
            context,
            self._client,
            [*system, *remembered, asked],
            tools=self._tools,
            max_rounds=self._max_rounds,
        )
        context.state["messages"] = plain(_newest([*remembered, asked, *result.messages], self._memory))
        usage = Usage(result.usage.input_tokens, result.usage.output_tokens, result.usage.cost(*self._prices))
        return TextAnswer(text=result.text, usage=usage, calls=result.calls)


def _newest(messages: list[ChatMessage], limit: int) -> list[ChatMessage]:
    """The last messages, beginning with a user's, so that no answer of a tool stands without its call."""
    kept = messages[-limit:]
    start = next((number for number, message in enumerate(kept) if message.role == "user"), 0)
    return kept[start:]


def _speaker(name: str) -> str:
    """A name as servers take it."""
    return name.replace(".", "_")[:64]
