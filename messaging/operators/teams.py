"""What programs and people outside do: start a workflow with its first message, and send into one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction

from messaging.core.arguments import check_text
from messaging.core.errors import EnvelopeError
from messaging.core.messages import SentMessage
from messaging.core.names import check_agent_name
from messaging.models import Agent
from messaging.sending.reliable_bus import ReliableCommunicationBus

MAX_TEXT = 200
SENDER = "web"
"""The agent as whom programs and people outside speak unless something else is said."""


def _check_text(attribute: str, value: str) -> None:
    """Refuse what the database cannot store or a person cannot read."""
    check_text(attribute, value, MAX_TEXT)
    if not value.strip():
        raise EnvelopeError(attribute, "expected something that a person can read, got blanks")
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise EnvelopeError(attribute, "expected text without control characters")


def _introduce(bus: ReliableCommunicationBus, sender: str) -> None:
    """Make the sender known, so that agents can reply to it."""
    check_agent_name(sender, "sender")
    if not Agent.objects.filter(name=sender).exists():
        bus.register_agent(sender, description="Sends what comes from outside; has no handler.")


def send_message(
    workflow: UUID, *, recipient: str, type: str, data: Any, sender: str, deduplication_id: str | None = None
) -> SentMessage:
    """Send a message into a workflow. The arguments and errors are those of ``CommunicationBus.send``."""
    check_agent_name(recipient, "recipient")
    if deduplication_id is not None:
        _check_text("deduplication_id", deduplication_id)
    bus = ReliableCommunicationBus()
    with transaction.atomic():
        _introduce(bus, sender)
        return bus.send(workflow, recipient, type, data, sender=sender, deduplication_id=deduplication_id)


def start_workflow(
    *,
    name: str,
    max_messages: int | None = None,
    deadline: float | None = None,
    deduplication_id: str | None = None,
) -> UUID:
    """Start a workflow that is empty. The arguments and errors are those of ``CommunicationBus.start_workflow``."""
    _check_text("name", name)
    if deduplication_id is not None:
        _check_text("deduplication_id", deduplication_id)
    return ReliableCommunicationBus().start_workflow(
        name, max_messages=max_messages, deadline=deadline, deduplication_id=deduplication_id
    )


def start_team(
    *, name: str, recipient: str, type: str, data: Any, sender: str, deduplication_id: str | None = None
) -> SentMessage:
    """Start a workflow with its first message: both or none.

    Args:
        name: of the workflow, for people.
        recipient, type, data, sender: of the message.
        deduplication_id: starting again with the same one returns what was started first.

    Raises:
        SendError, EnvelopeError: see ``CommunicationBus.send``; nothing was started.
    """
    with transaction.atomic():
        workflow = start_workflow(name=name, deduplication_id=deduplication_id)
        return send_message(
            workflow, recipient=recipient, type=type, data=data, sender=sender, deduplication_id=deduplication_id
        )
