"""The door for entrances outside of messaging, such as an HTTP API: what operators do, and the log to read."""

from messaging.core.arguments import check_text
from messaging.core.context import HandlerContext
from messaging.core.envelope import parse_envelope
from messaging.core.errors import EnvelopeTooLarge, LabelsLoosened, LeaseLost, MayNotSignFor, NotExternal, ReplayError
from messaging.core.outcome import Outcome
from messaging.core.request_ids import answering, request_id
from messaging.core.strict_json import loads
from messaging.directory.external import register_external
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
from messaging.receiving.external.completing import complete
from messaging.receiving.external.leases import fail, renew
from messaging.receiving.external.leasing import LeasedMessage, lease
from messaging.security.encryption.payloads import open_data, shown_data
from messaging.security.signatures.documents import sign_document
from messaging.security.signatures.encoding import to_base64url
from messaging.security.signatures.jwks import jwk_set

__all__ = [
    "SENDER",
    "Actor",
    "Agent",
    "AgentSetting",
    "DeadLetter",
    "DeadLetterStatus",
    "Entrance",
    "EnvelopeTooLarge",
    "HandlerContext",
    "LabelsLoosened",
    "LeaseLost",
    "LeasedMessage",
    "Mailbox",
    "MayNotSignFor",
    "Message",
    "NotExternal",
    "Outcome",
    "ReplayError",
    "Workflow",
    "answering",
    "check_text",
    "complete",
    "discard_letter",
    "fail",
    "jwk_set",
    "lease",
    "loads",
    "open_data",
    "parse_envelope",
    "perform",
    "record",
    "register_external",
    "renew",
    "replay_letter",
    "request_id",
    "send_message",
    "shown_data",
    "sign_document",
    "start_workflow",
    "system",
    "to_base64url",
]
