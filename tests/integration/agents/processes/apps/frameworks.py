"""Agents of each framework that is installed. Each counts its steps, and waits at a gate in its second answer."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Any

from agents.adapters.functions import FunctionAgent
from tests.support.model_server import call_count, wait_gate

SERVER = os.environ.get("SERVER_URL", "")


def step(name: str) -> int:
    """A step that costs something: counted, so that a repetition shows."""
    return call_count(SERVER, name)


async def gate(name: str) -> None:
    """Where the worker is killed."""
    await asyncio.to_thread(wait_gate, SERVER, name)


async def answer(text: str) -> str:
    number = await asyncio.to_thread(step, "function")
    if text == "second":
        await gate("function")
    return f"{text} {number}"


FunctionAgent("function", answer).register()


with contextlib.suppress(ModuleNotFoundError):
    from pydantic_ai import Agent
    from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
    from pydantic_ai.models.function import AgentInfo, FunctionModel

    from agents.adapters.pydantic_ai import PydanticAgent

    def asks(messages: list[ModelMessage]) -> int:
        return sum(part.part_kind == "user-prompt" for message in messages for part in message.parts)

    async def model(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        await asyncio.to_thread(step, "pydantic-model")
        last = messages[-1].parts[-1]
        if last.part_kind == "tool-return":
            if last.tool_name == "look":
                return ModelResponse(parts=[ToolCallPart("hold", {}, tool_call_id=f"hold-{asks(messages)}")])
            return ModelResponse(parts=[TextPart(f"{asks(messages)} asked")])
        return ModelResponse(parts=[ToolCallPart("look", {}, tool_call_id=f"look-{asks(messages)}")])

    pydantic_agent = Agent(FunctionModel(model))

    @pydantic_agent.tool_plain
    def look() -> int:
        return step("pydantic-look")

    @pydantic_agent.tool_plain
    async def hold() -> str:
        if await asyncio.to_thread(step, "pydantic-hold") == 2:
            await gate("pydantic")
        return "held"

    PydanticAgent("pydantic", pydantic_agent).register()


with contextlib.suppress(ModuleNotFoundError):
    from langgraph.graph import END, START, MessagesState, StateGraph

    from agents.adapters.langgraph import LangGraphAgent

    async def plan(state: MessagesState) -> dict[str, Any]:
        await asyncio.to_thread(step, "langgraph-plan")
        return {"messages": [("ai", "planned")]}

    async def write(state: MessagesState) -> dict[str, Any]:
        if len(state["messages"]) > 3:
            await gate("langgraph")
        await asyncio.to_thread(step, "langgraph-write")
        return {"messages": [("ai", f"{len(state['messages'])} before")]}

    builder = StateGraph(MessagesState)
    builder.add_node("plan", plan)
    builder.add_node("write", write)
    builder.add_edge(START, "plan")
    builder.add_edge("plan", "write")
    builder.add_edge("write", END)
    LangGraphAgent("langgraph", builder.compile()).register()


with contextlib.suppress(ModuleNotFoundError):
    from autogen_agentchat.agents import AssistantAgent
    from autogen_core import FunctionCall
    from autogen_core.models import ChatCompletionClient, CreateResult, ModelInfo, RequestUsage, UserMessage

    from agents.adapters.autogen import AutoGenAgent

    class CountingClient(ChatCompletionClient):
        """Wants a tool, then answers with how often it was asked."""

        component_type = "model"

        async def create(self, messages: Any, **_: Any) -> CreateResult:
            await asyncio.to_thread(step, "autogen-model")
            asked = sum(isinstance(message, UserMessage) for message in messages)
            usage = RequestUsage(prompt_tokens=3, completion_tokens=2)
            if isinstance(messages[-1], UserMessage):
                call = FunctionCall(id=f"call-{asked}", name="hold", arguments="{}")
                return CreateResult(finish_reason="function_calls", content=[call], usage=usage, cached=False)
            return CreateResult(finish_reason="stop", content=f"{asked} asked", usage=usage, cached=False)

        async def create_stream(self, messages: Any, **_: Any) -> Any:
            yield await self.create(messages)

        async def close(self) -> None: ...

        def actual_usage(self) -> RequestUsage:
            return RequestUsage(prompt_tokens=0, completion_tokens=0)

        total_usage = actual_usage

        def count_tokens(self, messages: Any, **_: Any) -> int:
            return 0

        def remaining_tokens(self, messages: Any, **_: Any) -> int:
            return 1_000

        @property
        def capabilities(self) -> Any:
            return self.model_info

        @property
        def model_info(self) -> ModelInfo:
            return ModelInfo(
                vision=False, function_calling=True, json_output=False, family="unknown", structured_output=False
            )

    async def autogen_hold() -> str:
        """Hold on."""
        if await asyncio.to_thread(step, "autogen-tool") == 2:
            await gate("autogen")
        return "held"

    autogen_hold.__name__ = "hold"

    def make(client: ChatCompletionClient) -> AssistantAgent:
        return AssistantAgent("helper", model_client=client, tools=[autogen_hold], reflect_on_tool_use=True)

    AutoGenAgent("autogen", make, CountingClient()).register()
