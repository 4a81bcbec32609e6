"""The public door of Nexus. Apps that extend Nexus also find what they need in ``messaging.extension``."""

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
from messaging.core.breaker import BreakerState, CircuitBreaker
from messaging.core.context import HandlerContext
from messaging.core.envelope import Envelope
from messaging.core.errors import (
    CircuitOpen,
    ConfigurationError,
    EnvelopeError,
    LabelError,
    MailboxFull,
    NameTaken,
    NexusError,
    NotAuthorized,
    ReplyTimeout,
    SchemaError,
    SchemaViolation,
    SendError,
    StepFailed,
    TerminalError,
    TransientError,
    UnknownAgent,
    UnknownGroup,
    UnknownSaga,
    UnknownTransaction,
    UnknownWorkflow,
    VoteNo,
    WaitCycle,
    WorkflowBlocked,
    WorkflowClosed,
    WorkflowLimit,
)
from messaging.core.extraction import Extraction
from messaging.core.labels import LabelPolicy, Labels
from messaging.core.messages import Outgoing, SentMessage
from messaging.core.registry import AgentSpec, HandlerKind, registry
from messaging.directory.pausing import pause_agent, paused_agents, resume_agent
from messaging.recovery.deduplicator import MessageDeduplicator
from messaging.security.schemas.upcasting import upcaster
from messaging.sending.bus import CommunicationBus
from messaging.sending.reliable_bus import ReliableCommunicationBus
from messaging.sending.schedules import schedule, unschedule
from messaging.transactions import (
    LockHolder,
    Participant,
    Reservation,
    Saga,
    Sagas,
    SagaView,
    StepRequest,
    approval,
    step,
    sub_saga,
    try_confirm_cancel,
    wait_for,
)
from messaging.transactions.known import known_sagas
from messaging.transactions.two_phase import BranchRequest, Resource, TwoPhase, TwoPhaseView
from messaging.workflows.sequence_tracker import SequenceTracker
from messaging.workflows.telling import DeadLetterNotice, ParkedNotice, dead_lettered, workflow_parked

__all__ = [
    "AgentSpec",
    "BranchRequest",
    "BreakerState",
    "BrokerHealth",
    "CircuitBreaker",
    "CircuitOpen",
    "CommunicationBus",
    "ConfigurationError",
    "Confirmation",
    "DeadLetterNotice",
    "Envelope",
    "EnvelopeError",
    "Extraction",
    "HandlerContext",
    "HandlerKind",
    "LabelError",
    "LabelPolicy",
    "Labels",
    "LockHolder",
    "MailboxFull",
    "MessageBroker",
    "MessageDeduplicator",
    "NameTaken",
    "NexusError",
    "NotAuthorized",
    "Outgoing",
    "OutgoingMessage",
    "ParkedNotice",
    "Participant",
    "RabbitMQBroker",
    "ReceivedMessage",
    "ReliableCommunicationBus",
    "ReplyTimeout",
    "Reservation",
    "Resource",
    "RetryPolicy",
    "Saga",
    "SagaView",
    "Sagas",
    "SchemaError",
    "SchemaViolation",
    "SendError",
    "SentMessage",
    "SequenceTracker",
    "StepFailed",
    "StepRequest",
    "TerminalError",
    "TransientError",
    "TwoPhase",
    "TwoPhaseView",
    "UnknownAgent",
    "UnknownGroup",
    "UnknownSaga",
    "UnknownTransaction",
    "UnknownWorkflow",
    "VoteNo",
    "WaitCycle",
    "WorkflowBlocked",
    "WorkflowClosed",
    "WorkflowLimit",
    "approval",
    "create_broker",
    "dead_lettered",
    "known_sagas",
    "pause_agent",
    "paused_agents",
    "registry",
    "resume_agent",
    "schedule",
    "step",
    "sub_saga",
    "try_confirm_cancel",
    "unschedule",
    "upcaster",
    "wait_for",
    "workflow_parked",
]
