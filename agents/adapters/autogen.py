"""An agent of AutoGen (``autogen_agentchat``) as an agent of Nexus.

Every answer of its model is kept by ``context.once``: a turn that a crash interrupted goes on without asking the model
again. The agent's own state is kept for the next message of the workflow.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from itertools import count
from typing import Any, Literal

from autogen_agentchat.base import ChatAgent
from autogen_agentchat.messages import BaseChatMessage, ToolCallRequestEvent
from autogen_core import CancellationToken
from autogen_core.models import (
    ChatCompletionClient,
    CreateResult,
    LLMMessage,
    ModelCapabilities,  # deprecated, but abstract in the base class
    ModelInfo,
    RequestUsage,
)
from autogen_core.tools import Tool, ToolSchema
from pydantic import BaseModel

from agents.chat.rules.messages import Usage
from agents.kinds.conversing import ConversingAgent, TextAnswer
from messaging.api import HandlerContext


class AutoGenAgent(ConversingAgent):
    """Runs a fresh agent on each message, with the state that the last message of the workflow left.

    Args:
        name: unique among all agents and groups.
        make: makes the agent; gets the model client that it must use, as in
            ``lambda client: AssistantAgent("critic", model_client=client)``.
        client: AutoGen's client of the model.
        settings: see ``BaseAgent``.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[ChatCompletionClient], ChatAgent],
        client: ChatCompletionClient,
        **settings: Any,
    ) -> None:
        super().__init__(name, **settings)
        self._make = make
        self._client = client

    async def answer(self, text: str, context: HandlerContext, *, speaker: str) -> TextAnswer:
        agent = self._make(_KeptClient(self._client, context))
        if "agent" in context.state:
            await agent.load_state(context.state["agent"])
        result = await agent.run(task=text)
        context.state["agent"] = dict(await agent.save_state())
        said = [message for message in result.messages if isinstance(message, BaseChatMessage)]
        used = [message.models_usage for message in result.messages if message.models_usage is not None]
        requests = [message for message in result.messages if isinstance(message, ToolCallRequestEvent)]
        return TextAnswer(
            text=said[-1].to_model_text(),
            usage=Usage(sum(one.prompt_tokens for one in used), sum(one.completion_tokens for one in used)),
            calls=tuple(call.name for request in requests for call in request.content),
        )


class _KeptClient(ChatCompletionClient):
    """Keeps each answer of the model, numbered in the order of asking."""

    component_type = "model"

    def __init__(self, client: ChatCompletionClient, context: HandlerContext) -> None:
        self._client = client
        self._context = context
        self._number = count(1)

    async def create(
        self,
        messages: Sequence[LLMMessage],
        *,
        tools: Sequence[Tool | ToolSchema] = (),
        tool_choice: Tool | Literal["auto", "required", "none"] = "auto",
        json_output: bool | type[BaseModel] | None = None,
        extra_create_args: Mapping[str, Any] | None = None,
        cancellation_token: CancellationToken | None = None,
    ) -> CreateResult:
        async def ask() -> Any:
            result = await self._client.create(
                messages,
                tools=tools,
                tool_choice=tool_choice,
                json_output=json_output,
                extra_create_args=extra_create_args or {},
                cancellation_token=cancellation_token,
            )
            return result.model_dump(mode="json")

        return CreateResult.model_validate(await self._context.once(f"model:{next(self._number)}", ask))

    async def create_stream(
        self,
        messages: Sequence[LLMMessage],
        *,
        tools: Sequence[Tool | ToolSchema] = (),
        tool_choice: Tool | Literal["auto", "required", "none"] = "auto",
        json_output: bool | type[BaseModel] | None = None,
        extra_create_args: Mapping[str, Any] | None = None,
        cancellation_token: CancellationToken | None = None,
    ) -> AsyncGenerator[str | CreateResult, None]:
        """In one piece: what is kept is the whole answer."""
        yield await self.create(
            messages,
            tools=tools,
            tool_choice=tool_choice,
            json_output=json_output,
            extra_create_args=extra_create_args,
            cancellation_token=cancellation_token,
        )

    async def close(self) -> None:
        """The wrapped client is shared with other runs: nothing to close."""

    def actual_usage(self) -> RequestUsage:
        return self._client.actual_usage()

    def total_usage(self) -> RequestUsage:
        return self._client.total_usage()

    def count_tokens(self, messages: Sequence[LLMMessage], *, tools: Sequence[Tool | ToolSchema] = ()) -> int:
        return self._client.count_tokens(messages, tools=tools)

    def remaining_tokens(self, messages: Sequence[LLMMessage], *, tools: Sequence[Tool | ToolSchema] = ()) -> int:
        return self._client.remaining_tokens(messages, tools=tools)

    @property
    def capabilities(self) -> ModelCapabilities:
        return self._client.capabilities

    @property
    def model_info(self) -> ModelInfo:
        return self._client.model_info
