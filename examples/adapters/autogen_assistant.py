"""An AutoGen AssistantAgent as a durable agent. Its worker is killed while its tool runs.

What its model said is stored as it happens, so after the kill the model is not asked again; the agent's memory lasts
from one message of the conversation to the next. The model's client is scripted here; use OpenAIChatCompletionClient
of autogen-ext.

python examples/adapters/autogen_assistant.py        needs requirements-extras.txt
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

try:
    from autogen_agentchat.agents import AssistantAgent
    from autogen_core import FunctionCall
    from autogen_core.models import ChatCompletionClient, CreateResult, ModelInfo, RequestUsage, UserMessage
except ModuleNotFoundError as missing:
    raise SystemExit(f"{missing}. This example needs: pip install -r requirements-extras.txt") from None

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from examples.harness.embedded import prepare, running
from examples.harness.interruption import converse

prepare(__file__)

from agents.adapters.autogen import AutoGenAgent

NOTHING = RequestUsage(prompt_tokens=0, completion_tokens=0)


class ScriptedModel(ChatCompletionClient):
    """Asks for the weather, then says what it learned."""

    component_type = "model"

    async def create(self, messages: Any, **options: Any) -> CreateResult:
        print("the model is asked", flush=True)
        if isinstance(messages[-1], UserMessage):
            call = FunctionCall(id=f"call-{len(messages)}", name="weather", arguments='{"city": "Kyiv"}')
            return CreateResult(finish_reason="function_calls", content=[call], usage=NOTHING, cached=False)
        said = messages[-1].content[0].content
        return CreateResult(finish_reason="stop", content=f"It is {said} in Kyiv.", usage=NOTHING, cached=False)

    async def create_stream(self, messages: Any, **options: Any) -> AsyncGenerator[str | CreateResult, None]:
        yield await self.create(messages)

    async def close(self) -> None: ...

    def actual_usage(self) -> RequestUsage:
        return NOTHING

    def total_usage(self) -> RequestUsage:
        return NOTHING

    def count_tokens(self, messages: Any, **options: Any) -> int:
        return 0

    def remaining_tokens(self, messages: Any, **options: Any) -> int:
        return 100_000

    @property
    def capabilities(self) -> Any:
        return self.model_info

    @property
    def model_info(self) -> ModelInfo:
        return ModelInfo(
            vision=False, function_calling=True, json_output=False, family="unknown", structured_output=False
        )


def weather(city: str) -> str:
    """Look at the sky; slow, so that it is interrupted."""
    time.sleep(2.0)
    return "sunny"


def make(client: ChatCompletionClient) -> AssistantAgent:
    """Make the agent; Nexus gives it a client that stores what the model says."""
    return AssistantAgent("forecaster", model_client=client, tools=[weather], reflect_on_tool_use=True)


AutoGenAgent("forecaster", make, ScriptedModel()).register()


def main() -> None:
    with running(__file__) as nexus:
        converse(nexus, "forecaster", ["How is the weather?", "And now?"])
        asked = nexus.worker.log.read_text().count("the model is asked")
    print(f"The model was asked {asked} times for two questions with two answers each.")


if __name__ == "__main__":
    main()
