"""An assistant: a model with instructions and tools."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
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
    ModelTool,
    TokenUsage,
    Tool,
    Toolbox,
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
        toolboxes: further tools, of others (``agents.adapters.mcp``). What the assistant says bears their labels from
            then on. Unless its settings say otherwise it ``reads_untrusted`` what a labelled one has, and
            ``changes_outside`` if one of them does.
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
        toolboxes: Sequence[Toolbox] = (),
        memory: int | MemoryStrategy = 100,
        max_rounds: int = 10,
        prices: tuple[float, float] = (0.0, 0.0),
        **settings: Any,
    ) -> None:
        if any(box.labels.origins for box in toolboxes):
            settings.setdefault("reads_untrusted", True)
        if any(box.changes_outside for box in toolboxes):
            settings.setdefault("changes_outside", True)
        super().__init__(name, **settings)
        self._client = client
        self._instructions = instructions
        self._tools = tuple(tools)
        self._toolboxes = tuple(toolboxes)
        self._memory = memory if isinstance(memory, MemoryStrategy) else Trim(Bounds(messages=memory))
        self._max_rounds = max_rounds
        self._prices = prices

    async def answer(self, text: str, context: HandlerContext, *, speaker: str) -> TextAnswer:
        remembered = msgspec.convert(context.state.get("messages", []), list[ChatMessage])
        asked = ChatMessage("user", text, name=_speaker(speaker))
        system = [ChatMessage("system", self._instructions)] if self._instructions else []
        async with self._open_tools(context) as tools:
            result = await run_turn(
                context,
                self._client,
                [*system, *remembered, asked],
                tools=tools,
                max_rounds=self._max_rounds,
                memory=self._memory,
            )
        spent = result.usage + await self._remember([*remembered, asked, *result.messages], context)
        usage = Usage(spent.input_tokens, spent.output_tokens, spent.cost(*self._prices))
        return TextAnswer(text=result.text, usage=usage, calls=result.calls)

    @asynccontextmanager
    async def _open_tools(self, context: HandlerContext) -> AsyncIterator[Sequence[ModelTool]]:
        """All tools, for a turn. One of its own goes before one of the same name in a toolbox."""
        async with AsyncExitStack() as stack:
            tools: dict[str, ModelTool] = {}
            for box in self._toolboxes:
                # Before anything of it is known, and at a redelivery too, which may not open it for a call any more.
                context.labels = context.labels | box.labels
                tools |= {tool.name: tool for tool in await stack.enter_async_context(box.open())}
            yield list((tools | {tool.name: tool for tool in self._tools}).values())

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
