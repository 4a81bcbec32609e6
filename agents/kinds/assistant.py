"""An assistant: a model with instructions and tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from agents.base import BaseAgent
from agents.kinds.text import text_of
from agents.llm import ChatMessage, ModelClient, Tool, TurnResult, run_turn
from messaging.api import Envelope, HandlerContext, RetryPolicy


class AssistantAgent(BaseAgent):
    """Answers each message with what its model says, and remembers the conversation of each workflow.

    The reply is ``{"text": …, "usage": {…}, "calls": […]}``.

    Args:
        name: unique among all agents and groups.
        client: the model.
        instructions: the system message.
        tools: what the model may call.
        memory: most messages that it remembers of a workflow; older ones are forgotten.
        max_rounds: most answers of the model to one message.
        settings: see ``BaseAgent``.
    """

    retry = RetryPolicy(max_attempts=8, base=2.0, cap=300.0)

    def __init__(
        self,
        name: str,
        client: ModelClient,
        *,
        instructions: str = "",
        tools: Sequence[Tool] = (),
        memory: int = 100,
        max_rounds: int = 10,
        **settings: Any,
    ) -> None:
        super().__init__(name, **settings)
        self._client = client
        self._instructions = instructions
        self._tools = tuple(tools)
        self._memory = memory
        self._max_rounds = max_rounds

    async def handle(self, message: Envelope, context: HandlerContext) -> None:
        result = await self.answer(text_of(message.data), context, speaker=message.source)
        context.reply({"text": result.text, "usage": msgspec.to_builtins(result.usage), "calls": list(result.calls)})

    async def answer(self, text: str, context: HandlerContext, *, speaker: str) -> TurnResult:
        """Have the model answer a text, and remember both."""
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
        context.state["messages"] = msgspec.to_builtins(_newest([*remembered, asked, *result.messages], self._memory))
        return result


def _newest(messages: list[ChatMessage], limit: int) -> list[ChatMessage]:
    """The last messages, beginning with a user's, so that no answer of a tool stands without its call."""
    kept = messages[-limit:]
    start = next((number for number, message in enumerate(kept) if message.role == "user"), 0)
    return kept[start:]


def _speaker(name: str) -> str:
    """A name as servers take it."""
    return name.replace(".", "_")[:64]
