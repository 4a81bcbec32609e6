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
    Mailbox,
    Message,
    Workflow,
)
from messaging.observing.system import system
from messaging.operators.teams import SENDER, send_message, start_workflow
from messaging.recovery.replay import discard, replay
from messaging.security.signatures.documents import sign_document
from messaging.security.signatures.encoding import to_base64url
from messaging.security.signatures.jwks import jwk_set

__all__ = [
    "SENDER",
    "Agent",
    "AgentSetting",
    "DeadLetter",
    "DeadLetterStatus",
    "EnvelopeTooLarge",
    "Mailbox",
    "MayNotSignFor",
    "Message",
    "ReplayError",
    "Workflow",
    "answering",
    "check_text",
    "discard",
    "jwk_set",
    "loads",
    "parse_envelope",
    "replay",
    "request_id",
    "send_message",
    "sign_document",
    "start_workflow",
    "system",
    "to_base64url",
]
