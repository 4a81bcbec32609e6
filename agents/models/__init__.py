"""The tables, one concept a file."""

from agents.models.agent_setting import AgentSetting
from agents.models.agent_state import AgentState
from agents.models.once_result import OnceResult
from agents.models.tool_call import ToolCall, ToolCallStatus

__all__ = ["AgentSetting", "AgentState", "OnceResult", "ToolCall", "ToolCallStatus"]
