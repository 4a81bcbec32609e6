"""The tables, one concept a file."""

from agents.models.approval import Approval, ApprovalPurpose, ApprovalStatus
from agents.models.chat import ChatEntry, ChatSession, ChatStatus
from agents.models.judge_spending import JudgeSpending
from agents.models.team import Team
from agents.models.tool_call import ToolCall, ToolCallStatus

__all__ = [
    "Approval",
    "ApprovalPurpose",
    "ApprovalStatus",
    "ChatEntry",
    "ChatSession",
    "ChatStatus",
    "JudgeSpending",
    "Team",
    "ToolCall",
    "ToolCallStatus",
]
