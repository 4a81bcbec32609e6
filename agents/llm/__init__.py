"""Language models: one protocol, a scripted and an OpenAI-compatible client, turns with tools that survive a crash."""

from agents.llm.errors import ModelBusy, ModelCutOff, ModelError, ModelGarbled, ModelRefused, ModelUnavailable
from agents.llm.openai import OpenAIClient
from agents.llm.resilient import ResilientClient
from agents.llm.scripted import ScriptedClient
from agents.llm.tools import Tool
from agents.llm.turn import TurnResult, repair_history, run_turn
from agents.llm.types import ChatMessage, Completion, ModelClient, TokenUsage, ToolRequest, ToolSpec

__all__ = [
    "ChatMessage",
    "Completion",
    "ModelBusy",
    "ModelClient",
    "ModelCutOff",
    "ModelError",
    "ModelGarbled",
    "ModelRefused",
    "ModelUnavailable",
    "OpenAIClient",
    "ResilientClient",
    "ScriptedClient",
    "TokenUsage",
    "Tool",
    "ToolRequest",
    "ToolSpec",
    "TurnResult",
    "repair_history",
    "run_turn",
]
