"""Messages of the log as JSON has them."""

from __future__ import annotations

from typing import Any

from messaging.api import EnvelopeError
from messaging.extension import get_settings
from messaging.operating import Message, parse_envelope


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


def _data(message: Message) -> Any:
    body = bytes(message.envelope)
    try:
        return parse_envelope(body, max_bytes=max(len(body), get_settings().max_message_bytes)).data
    except EnvelopeError:
        return None
