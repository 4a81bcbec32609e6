"""Messages for handlers that are called by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from messaging.api import Envelope
from messaging.core.envelope import build_envelope, parse_envelope
from messaging.core.ids import new_message_id, uuid7


def make_envelope(data: Any = None, *, type: str = "question") -> Envelope:
    """A message to an agent."""
    body = build_envelope(
        message_id=new_message_id(),
        workflow_id=uuid7(),
        source="asker",
        recipient="agent",
        type=type,
        data=data,
        sequence=1,
        position=1,
        time=datetime.now(UTC),
        max_bytes=10_000,
    )
    return parse_envelope(body, max_bytes=10_000)
