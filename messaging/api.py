"""The one public door of Nexus."""

from messaging.brokers import (
    BrokerHealth,
    Confirmation,
    MessageBroker,
    OutgoingMessage,
    RabbitMQBroker,
    ReceivedMessage,
    create_broker,
)
from messaging.conf import get_settings
from messaging.core.backoff import RetryPolicy
from messaging.core.breaker import BreakerState, CircuitBreaker
from messaging.core.context import HandlerContext
from messaging.core.envelope import Envelope
from messaging.core.errors import (
    CircuitOpen,
    ConfigurationError,
    EnvelopeError,
    MailboxFull,
    NameTaken,
    NexusError,
    ReplyTimeout,
    SchemaError,
    SchemaViolation,
    SendError,
    TerminalError,
    TransientError,
    UnknownAgent,
    UnknownGroup,
    UnknownWorkflow,
    WorkflowClosed,
    WorkflowLimit,
)
from messaging.core.messages import Outgoing, SentMessage
from messaging.core.names import check_agent_name
from messaging.core.registry import AgentSpec, HandlerKind, registry
from messaging.directory.names import known_names
from messaging.directory.pausing import pause_agent, paused_agents, resume_agent
from messaging.log import load_states
from messaging.receiving.event_loop import database_threads, handler_loop
from messaging.recovery.deduplicator import MessageDeduplicator
from messaging.recovery.periodic import run_periodically
from messaging.security.schemas.upcasting import upcaster
from messaging.sending.bus import CommunicationBus
from messaging.sending.reliable_bus import ReliableCommunicationBus
from messaging.workflows.sequence_tracker import SequenceTracker

__all__ = [
    "AgentSpec",
    "BreakerState",
    "BrokerHealth",
    "CircuitBreaker",
    "CircuitOpen",
    "CommunicationBus",
    "ConfigurationError",
    "Confirmation",
    "Envelope",
    "EnvelopeError",
    "HandlerContext",
    "HandlerKind",
    "MailboxFull",
    "MessageBroker",
    "MessageDeduplicator",
    "NameTaken",
    "NexusError",
    "Outgoing",
    "OutgoingMessage",
    "RabbitMQBroker",
    "ReceivedMessage",
    "ReliableCommunicationBus",
    "ReplyTimeout",
    "RetryPolicy",
    "SchemaError",
    "SchemaViolation",
    "SendError",
    "SentMessage",
    "SequenceTracker",
    "TerminalError",
    "TransientError",
    "UnknownAgent",
    "UnknownGroup",
    "UnknownWorkflow",
    "WorkflowClosed",
    "WorkflowLimit",
    "check_agent_name",
    "create_broker",
    "database_threads",
    "get_settings",
    "handler_loop",
    "known_names",
    "load_states",
    "pause_agent",
    "paused_agents",
    "registry",
    "resume_agent",
    "run_periodically",
    "upcaster",
]
