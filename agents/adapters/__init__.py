"""Agents of other frameworks as agents of Nexus. Each module needs its framework; see requirements-extras.txt.

from agents.adapters.functions import FunctionAgent      any callable
from agents.adapters.pydantic_ai import PydanticAgent    pydantic_ai.Agent
from agents.adapters.langgraph import LangGraphAgent     a compiled LangGraph graph
from agents.adapters.a2a import A2AAgent                an agent anywhere that speaks A2A 1.0; needs nothing
from agents.adapters.autogen import AutoGenAgent         autogen_agentchat's AssistantAgent and its kin
"""
