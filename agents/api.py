"""The public door of agents, teams and group chats."""

from agents.base import BaseAgent
from agents.chat.hosts.approval import answer_approval, request_approval
from agents.chat.hosts.host import ChatView, PersonRequest
from agents.chat.hosts.managers import Answer, ChatResult, NexusGroupChatManager, ReliableNexusGroupChatManager
from agents.chat.hosts.participant import chat_member, participant
from agents.chat.rules.conditions import (
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
from agents.chat.rules.definitions import (
    Limits,
    Member,
    OnApprovalTimeout,
    OnDeadlock,
    OnRejection,
    OnTimeout,
    ResultPolicy,
    TeamDefinition,
)
from agents.chat.rules.errors import (
    ApprovalClosed,
    ChatError,
    ChatTimeout,
    DefinitionError,
    UnknownApproval,
    UnknownChat,
)
from agents.chat.rules.functions import chat_function
from agents.chat.rules.messages import ApprovalRequest, Entry, Question, Reply, Turn, Usage
from agents.chat.rules.speakers import (
    ByCapability,
    ByFunction,
    ByHandoff,
    ByModel,
    Choosing,
    Manual,
    Parallel,
    RandomSpeaker,
    RoundRobin,
)
from agents.chat.rules.termination import View
from agents.chat.rules.transcript import Transcript
from agents.decorator import agent
from agents.kinds import AssistantAgent, ExecutorAgent, PlannerAgent, UserProxyAgent
from agents.llm import (
    ChatMessage,
    Completion,
    ModelClient,
    OpenAIClient,
    ResilientClient,
    ScriptedClient,
    TokenUsage,
    Tool,
    ToolRequest,
    run_turn,
)
from agents.team.builder import AgentTeamBuilder
from agents.team.report import TeamReport
from messaging.api import pause_agent, paused_agents, resume_agent

__all__ = [
    "AgentTeamBuilder",
    "Answer",
    "ApprovalClosed",
    "ApprovalRequest",
    "AssistantAgent",
    "BaseAgent",
    "ByCapability",
    "ByFunction",
    "ByHandoff",
    "ByModel",
    "ChatError",
    "ChatMessage",
    "ChatResult",
    "ChatTimeout",
    "ChatView",
    "Choosing",
    "Completion",
    "CostBudget",
    "DefinitionError",
    "Entry",
    "ExecutorAgent",
    "External",
    "FunctionCall",
    "Functional",
    "Handoff",
    "Limits",
    "Manual",
    "MaxMessages",
    "MaxRounds",
    "Member",
    "ModelClient",
    "NexusGroupChatManager",
    "OnApprovalTimeout",
    "OnDeadlock",
    "OnRejection",
    "OnTimeout",
    "OpenAIClient",
    "Parallel",
    "PersonRequest",
    "PlannerAgent",
    "Question",
    "RandomSpeaker",
    "ReliableNexusGroupChatManager",
    "Reply",
    "ResilientClient",
    "ResultPolicy",
    "RoundRobin",
    "ScriptedClient",
    "SourceMatch",
    "StopMessage",
    "TeamDefinition",
    "TeamReport",
    "TextMention",
    "Timeout",
    "TokenBudget",
    "TokenUsage",
    "Tool",
    "ToolRequest",
    "Transcript",
    "Turn",
    "UnknownApproval",
    "UnknownChat",
    "Usage",
    "UserProxyAgent",
    "View",
    "agent",
    "answer_approval",
    "chat_function",
    "chat_member",
    "participant",
    "pause_agent",
    "paused_agents",
    "request_approval",
    "resume_agent",
    "run_turn",
]
