"""The tables, one concept a file."""

from agents.models.agent_setting import AgentSetting
from agents.models.agent_state import AgentState
from agents.models.approval import Approval, ApprovalPurpose, ApprovalStatus
from agents.models.chat import ChatEntry, ChatSession, ChatStatus
from agents.models.once_result import OnceResult
from agents.models.team import Team
from agents.models.tool_call import ToolCall, ToolCallStatus

__all__ = [
    "AgentSetting",
    "AgentState",
    "Approval",
    "ApprovalPurpose",
    "ApprovalStatus",
    "ChatEntry",
    "ChatSession",
    "ChatStatus",
    "OnceResult",
    "Team",
    "ToolCall",
    "ToolCallStatus",
]
