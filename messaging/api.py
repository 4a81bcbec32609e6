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
from messaging.core.backoff import RetryPolicy
from messaging.core.context import HandlerContext
from messaging.core.envelope import Envelope
from messaging.core.errors import (
    ConfigurationError,
    EnvelopeError,
    MailboxFull,
    NexusError,
    ReplyTimeout,
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
from messaging.recovery.deduplicator import MessageDeduplicator
from messaging.recovery.sequence_tracker import SequenceTracker
from messaging.sending.bus import CommunicationBus
from messaging.sending.reliable_bus import ReliableCommunicationBus

__all__ = [
    "AgentSpec",
    "BrokerHealth",
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
    "NexusError",
    "Outgoing",
    "OutgoingMessage",
    "RabbitMQBroker",
    "ReceivedMessage",
    "ReliableCommunicationBus",
    "ReplyTimeout",
    "RetryPolicy",
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
    "registry",
]
