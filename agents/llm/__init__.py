"""Language models: one protocol, a scripted and an OpenAI-compatible client, turns with tools that survive a crash."""

from agents.llm.errors import (
    ContextTooLong,
    ModelBusy,
    ModelCutOff,
    ModelError,
    ModelGarbled,
    ModelRefused,
    ModelUnavailable,
)
from agents.llm.memory import Bounds, MemoryStrategy, Summarise, Trim, trim
from agents.llm.openai import OpenAIClient
from agents.llm.resilient import ResilientClient
from agents.llm.scripted import ScriptedClient
from agents.llm.tools import ModelTool, Tool, Toolbox
from agents.llm.turn import TurnResult, repair_history, run_turn
from agents.llm.types import ChatMessage, Completion, ModelClient, TokenUsage, ToolRequest, ToolSpec

__all__ = [
    "Bounds",
    "ChatMessage",
    "Completion",
    "ContextTooLong",
    "MemoryStrategy",
    "ModelBusy",
    "ModelClient",
    "ModelCutOff",
    "ModelError",
    "ModelGarbled",
    "ModelRefused",
    "ModelTool",
    "ModelUnavailable",
    "OpenAIClient",
    "ResilientClient",
    "ScriptedClient",
    "Summarise",
    "TokenUsage",
    "Tool",
    "ToolRequest",
    "ToolSpec",
    "Toolbox",
    "Trim",
    "TurnResult",
    "repair_history",
    "run_turn",
    "trim",
]
