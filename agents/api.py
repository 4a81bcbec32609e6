"""The public door of agents, teams and group chats."""

from agents.base import BaseAgent
from agents.chat.approval import answer_approval, request_approval
from agents.chat.conditions import (
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
from agents.chat.participant import chat_member, participant
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
from agents.chat.transcript import Transcript
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
from agents.team.definitions import Limits, Member, TeamDefinition
from agents.team.report import TeamReport
from messaging.api import pause_agent, paused_agents, resume_agent

__all__ = [
    "AgentTeamBuilder",
    "Answer",
    "ApprovalClosed",
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
    "Completion",
    "CostBudget",
    "DefinitionError",
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
    "OpenAIClient",
    "Parallel",
    "PersonRequest",
    "PlannerAgent",
    "Question",
    "RandomSpeaker",
    "ReliableNexusGroupChatManager",
    "Reply",
    "ResilientClient",
    "RoundRobin",
    "Said",
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
    "Wish",
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
