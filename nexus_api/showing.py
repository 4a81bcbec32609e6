"""Messages of the log, and approvals, as JSON has them."""

from __future__ import annotations

from typing import Any

from agents.models import Approval
from messaging.api import Envelope, EnvelopeError
from messaging.extension import get_settings
from messaging.operating import Message, parse_envelope, shown_data


def show_message(message: Message) -> dict[str, Any]:
    """A message. Its data are None where the stored bytes can be read no more."""
    return {
        "id": message.pk,
        "workflow": message.workflow_id,
        "sequence": message.sequence,
        "type": message.type,
        "sender": message.source,
        "recipient": message.subject,
        "data": _data(message),
        "correlation_id": message.correlation_id,
        "created_at": message.created_at,
    }


def show_approval(approval: Approval) -> dict[str, Any]:
    """What waits for a person, or their answer."""
    fields = ("id", "purpose", "member", "question", "content", "options", "status", "answer", "answered_by",
              "deadline_at", "created_at")  # fmt: skip
    return {**{field: getattr(approval, field) for field in fields}, "workflow": approval.workflow_id}


def labels_of(message: Message) -> str | None:
    """The labels that a message was sent with; None where the stored bytes can be read no more."""
    envelope = _read(message)
    return None if envelope is None else str(envelope.labels)


def _data(message: Message) -> Any:
    envelope = _read(message)
    return None if envelope is None else shown_data(envelope)


def _read(message: Message) -> Envelope | None:
    body = bytes(message.envelope)
    try:
        return parse_envelope(body, max_bytes=max(len(body), get_settings().max_message_bytes))
    except EnvelopeError:
        return None
