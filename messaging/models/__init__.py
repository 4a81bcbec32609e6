"""The tables, one concept a file."""

from messaging.models.access import (
    AccessChange,
    AccessEffect,
    AccessEpoch,
    AccessGrant,
    AccessRole,
    AccessRoleMember,
    AccessTeam,
    AccessTeamMember,
)
from messaging.models.agent import Agent, AgentGroup, GroupMember
from messaging.models.agent_setting import AgentSetting
from messaging.models.agent_state import AgentState
from messaging.models.alert import Alert
from messaging.models.awaited_reply import AwaitedReply
from messaging.models.bulk_run import BulkAction, BulkRun, BulkStatus
from messaging.models.dead_letter import DeadLetter, DeadLetterStatus, DeadReason
from messaging.models.dead_letter_note import DeadLetterNote
from messaging.models.delivery import FINAL_STATES, POLLED_STATES, Delivery, DeliveryState
from messaging.models.encryption_key import EncryptionKey
from messaging.models.external_agent import ExternalAgent
from messaging.models.foreign import ForeignArrival, ForeignSender
from messaging.models.given_permission import GivenPermission
from messaging.models.journal import JournalEntry
from messaging.models.label_endorsement import EndorsementKind, LabelEndorsement
from messaging.models.mailbox import Mailbox
from messaging.models.message import Message
from messaging.models.minute import MinuteFigures
from messaging.models.once_result import OnceResult
from messaging.models.operator_act import Entrance, OperatorAct
from messaging.models.processed_message import ProcessedMessage
from messaging.models.relay import QueueMarker, RelayLease
from messaging.models.saga import OPEN_SAGAS, SagaRun, SagaStatus, SemanticLock, StepRecord, StepState
from messaging.models.schema import Compatibility, MessageSchema
from messaging.models.signing_key import (
    KeyState,
    SigningChange,
    SigningExemption,
    SigningKey,
    SigningMode,
    SigningState,
    SigningUse,
)
from messaging.models.tally import TOTAL, Counted, MetricTally
from messaging.models.timer import Schedule, Timer, TimerState
from messaging.models.two_phase import (
    ENDED_BRANCHES,
    OPEN_TWO_PHASE,
    BranchState,
    TwoPhaseBranch,
    TwoPhaseInstallation,
    TwoPhaseRun,
    TwoPhaseStatus,
)
from messaging.models.verdict import WAITING_STATES, RuleSet, Verdict, VerdictState
from messaging.models.worker import WorkerStatus
from messaging.models.workflow import OPEN_STATUSES, FailurePolicy, GapPolicy, IdlePolicy, Workflow, WorkflowStatus

__all__ = [
    "ENDED_BRANCHES",
    "FINAL_STATES",
    "OPEN_SAGAS",
    "OPEN_STATUSES",
    "OPEN_TWO_PHASE",
    "POLLED_STATES",
    "TOTAL",
    "WAITING_STATES",
    "AccessChange",
    "AccessEffect",
    "AccessEpoch",
    "AccessGrant",
    "AccessRole",
    "AccessRoleMember",
    "AccessTeam",
    "AccessTeamMember",
    "Agent",
    "AgentGroup",
    "AgentSetting",
    "AgentState",
    "Alert",
    "AwaitedReply",
    "BranchState",
    "BulkAction",
    "BulkRun",
    "BulkStatus",
    "Compatibility",
    "Counted",
    "DeadLetter",
    "DeadLetterNote",
    "DeadLetterStatus",
    "DeadReason",
    "Delivery",
    "DeliveryState",
    "EncryptionKey",
    "EndorsementKind",
    "Entrance",
    "ExternalAgent",
    "FailurePolicy",
    "ForeignArrival",
    "ForeignSender",
    "GapPolicy",
    "GivenPermission",
    "GroupMember",
    "IdlePolicy",
    "JournalEntry",
    "KeyState",
    "LabelEndorsement",
    "Mailbox",
    "Message",
    "MessageSchema",
    "MetricTally",
    "MinuteFigures",
    "OnceResult",
    "OperatorAct",
    "ProcessedMessage",
    "QueueMarker",
    "RelayLease",
    "RuleSet",
    "SagaRun",
    "SagaStatus",
    "Schedule",
    "SemanticLock",
    "SigningChange",
    "SigningExemption",
    "SigningKey",
    "SigningMode",
    "SigningState",
    "SigningUse",
    "StepRecord",
    "StepState",
    "Timer",
    "TimerState",
    "TwoPhaseBranch",
    "TwoPhaseInstallation",
    "TwoPhaseRun",
    "TwoPhaseStatus",
    "Verdict",
    "VerdictState",
    "WorkerStatus",
    "Workflow",
    "WorkflowStatus",
]
