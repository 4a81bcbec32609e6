"""A pydantic-ai agent as a durable agent. Its worker is killed while a tool runs.

What its model said and what its tools returned is stored as it happens, so after the kill the run goes on in its
middle: the model is not asked again, and the tool that was finished is not called again. The model is a FunctionModel
here; any other (Agent("openai:…")) is used in the same way.

python examples/adapters/pydantic_ai_agent.py        needs requirements-extras.txt
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

try:
    from pydantic_ai import Agent
    from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
    from pydantic_ai.models.function import AgentInfo, FunctionModel
except ModuleNotFoundError as missing:
    raise SystemExit(f"{missing}. This example needs: pip install -r requirements-extras.txt") from None

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from examples.harness.embedded import prepare, running
from examples.harness.interruption import converse

prepare(__file__)

from agents.adapters.pydantic_ai import PydanticAgent


def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Plays a language model: asks for the stock, then for the price, then answers."""
    last = messages[-1].parts[-1]
    if not isinstance(last, ToolReturnPart):
        return ModelResponse(parts=[ToolCallPart("stock", {"item": "lamp"})])
    if last.tool_name == "stock":
        return ModelResponse(parts=[ToolCallPart("price", {"item": "lamp"})])
    parts = [part for message in messages for part in message.parts if isinstance(part, ToolReturnPart)]
    known = {part.tool_name: part.content for part in parts}
    return ModelResponse(parts=[TextPart(f"We have {known['stock']} lamps at {known['price']} each.")])


shop = Agent(FunctionModel(model), instructions="You sell lamps.")


@shop.tool_plain
def stock(item: str) -> int:
    """How many are left."""
    print(f"stock({item}) is called", flush=True)
    return 7


@shop.tool_plain
def price(item: str) -> str:
    """Slow, so that it is interrupted."""
    print(f"price({item}) is called", flush=True)
    time.sleep(2.0)
    return "30 €"


PydanticAgent("shop", shop).register()


def main() -> None:
    with running(__file__) as nexus:
        converse(nexus, "shop", ["Do you have lamps?", "And now?"])
        calls = [line for line in nexus.worker.log.read_text().splitlines() if "is called" in line]
    print(f"The worker's log has {len(calls)} calls of tools: {calls}")


if __name__ == "__main__":
    main()
