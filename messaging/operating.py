"""The door for entrances outside of messaging, such as an HTTP API: what operators do, and the log to read."""

from messaging.core.arguments import check_text
from messaging.core.envelope import parse_envelope
from messaging.core.errors import EnvelopeTooLarge, MayNotSignFor, ReplayError
from messaging.core.request_ids import answering, request_id
from messaging.core.strict_json import loads
from messaging.models import (
    Agent,
    AgentSetting,
    DeadLetter,
    DeadLetterStatus,
    Entrance,
    Mailbox,
    Message,
    Workflow,
)
from messaging.observing.system import system
from messaging.operators.acts import Actor, perform, record
from messaging.operators.dead_letters import discard_letter, replay_letter
from messaging.operators.teams import SENDER, send_message, start_workflow

__all__ = [
    "SENDER",
    "Actor",
    "Agent",
    "AgentSetting",
    "DeadLetter",
    "DeadLetterStatus",
    "Entrance",
    "EnvelopeTooLarge",
    "Mailbox",
    "MayNotSignFor",
    "Message",
    "ReplayError",
    "Workflow",
    "answering",
    "check_text",
    "discard_letter",
    "loads",
    "parse_envelope",
    "perform",
    "record",
    "replay_letter",
    "request_id",
    "send_message",
    "start_workflow",
    "system",
]
