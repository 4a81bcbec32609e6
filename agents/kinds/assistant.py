"""An assistant: a model with instructions and tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from agents.chat.rules.messages import Usage
from agents.kinds.conversing import ConversingAgent, TextAnswer
from agents.kinds.text import plain
from agents.llm import (
    Bounds,
    ChatMessage,
    MemoryStrategy,
    ModelClient,
    ModelRefused,
    TokenUsage,
    Tool,
    Trim,
    run_turn,
    trim,
)
from messaging.api import HandlerContext


class AssistantAgent(ConversingAgent):
    """Answers each message with what its model says, and remembers the conversation of each workflow.

    Args:
        name: unique among all agents and groups.
        client: the model.
        instructions: the system message.
        tools: what the model may call.
        memory: how much it remembers of a workflow, and what becomes of the rest: ``Trim()`` forgets the oldest,
            ``Summarise(client)`` has it summarised. A number is ``Trim`` with that many messages. The same strategy
            shortens a conversation that the model finds too long.
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
        memory: int | MemoryStrategy = 100,
        max_rounds: int = 10,
        prices: tuple[float, float] = (0.0, 0.0),
        **settings: Any,
    ) -> None:
        super().__init__(name, **settings)
        self._client = client
        self._instructions = instructions
        self._tools = tuple(tools)
        self._memory = memory if isinstance(memory, MemoryStrategy) else Trim(Bounds(messages=memory))
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
            memory=self._memory,
        )
        spent = result.usage + await self._remember([*remembered, asked, *result.messages], context)
        usage = Usage(spent.input_tokens, spent.output_tokens, spent.cost(*self._prices))
        return TextAnswer(text=result.text, usage=usage, calls=result.calls)

    async def _remember(self, messages: list[ChatMessage], context: HandlerContext) -> TokenUsage:
        """Keep a conversation within the memory's bounds; return what that consumed."""
        bounds, usage = self._memory.bounds, TokenUsage()
        if not bounds.hold(messages):

            async def compact() -> Any:
                try:
                    return await self._memory.compact(messages, bounds)
                except ModelRefused as error:  # an answer is not lost because its memory cannot be summarised
                    context.logger.warning("%s forgets what it cannot summarise: %s", context.agent, error)
                    return trim(messages, bounds).kept, usage

            kept = await context.once("memory", compact)
            messages, usage = msgspec.convert(kept, tuple[list[ChatMessage], TokenUsage])
        context.state["messages"] = plain(messages)
        return usage


def _speaker(name: str) -> str:
    """A name as servers take it."""
    return name.replace(".", "_")[:64]
