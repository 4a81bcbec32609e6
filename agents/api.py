"""The public door of agents, teams and group chats."""

from agents.chat.approval import answer_approval, request_approval
from agents.chat.errors import (
    ApprovalClosed,
    ChatError,
    ChatTimeout,
    DefinitionError,
    UnknownApproval,
    UnknownChat,
)
from agents.chat.functions import chat_function
from agents.chat.host import ChatView, PersonRequest
from agents.chat.managers import Answer, ChatResult, NexusGroupChatManager, ReliableNexusGroupChatManager
from agents.chat.messages import Question, Reply, Said, Turn, Usage, Wish
from agents.chat.participant import participant
from agents.chat.speakers import (
    ByCapability,
    ByFunction,
    ByHandoff,
    ByModel,
    Manual,
    Parallel,
    RandomSpeaker,
    RoundRobin,
)
from agents.chat.termination import (
    CostBudget,
    External,
    Functional,
    FunctionCall,
    Handoff,
    MaxMessages,
    MaxRounds,
    SourceMatch,
    StopMessage,
    TextMention,
    Timeout,
    TokenBudget,
)
from agents.chat.transcript import Transcript
from agents.team.definitions import Limits, Member, TeamDefinition

__all__ = [
    "Answer",
    "ApprovalClosed",
    "ByCapability",
    "ByFunction",
    "ByHandoff",
    "ByModel",
    "ChatError",
    "ChatResult",
    "ChatTimeout",
    "ChatView",
    "CostBudget",
    "DefinitionError",
    "External",
    "FunctionCall",
    "Functional",
    "Handoff",
    "Limits",
    "Manual",
    "MaxMessages",
    "MaxRounds",
    "Member",
    "NexusGroupChatManager",
    "Parallel",
    "PersonRequest",
    "Question",
    "RandomSpeaker",
    "ReliableNexusGroupChatManager",
    "Reply",
    "RoundRobin",
    "Said",
    "SourceMatch",
    "StopMessage",
    "TeamDefinition",
    "TextMention",
    "Timeout",
    "TokenBudget",
    "Transcript",
    "Turn",
    "UnknownApproval",
    "UnknownChat",
    "Usage",
    "Wish",
    "answer_approval",
    "chat_function",
    "participant",
    "request_approval",
]
