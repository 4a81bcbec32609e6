"""The steps that a received message goes through before the database is asked, read top to bottom.

    identify ▶ parse ▶ match

Each step takes an ``Incoming`` and fills in what it learned, or refuses. A refused message goes to the dead-letter
queue with its raw bytes; nothing here crashes on bad input.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from messaging.brokers import ReceivedMessage
from messaging.conf import get_settings
from messaging.core.envelope import CONTENT_TYPE, Envelope, parse_envelope
from messaging.core.errors import EnvelopeError, NexusError
from messaging.core.ids import message_id_of
from messaging.models import DeadReason
from messaging.transport import wire

SUSPECT_REDELIVERIES = 3
"""From this many re-sends by the relay on, a delivery is handled alone: something keeps it from being handled."""


class Refused(NexusError):
    """A message that cannot become a delivery.

    Args:
        reason: why, as the dead letter will say.
        detail: for the operator.
    """

    def __init__(self, reason: DeadReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(slots=True)
class Incoming:
    """A received message on its way to becoming a handled delivery.

    Args:
        received: as the broker handed it out; None for one that was read from the log.
        delivery_id: from its headers.
        envelope: parsed from its body.
        suspect: it may have killed a worker before, so it is handled alone.
    """

    received: ReceivedMessage | None
    delivery_id: UUID
    envelope: Envelope
    suspect: bool = False


def _identify(received: ReceivedMessage) -> UUID:
    task = received.headers.get("task")
    if task != wire.DELIVER_TASK:
        raise Refused(
            DeadReason.UNKNOWN_TASK,
            f"The header 'task' is {task!r}; this queue carries {wire.DELIVER_TASK!r} only. "
            "Send other tasks to their own queue.",
        )
    delivery_id = wire.delivery_id_of(received.headers)
    if delivery_id is None:
        raise Refused(
            DeadReason.UNKNOWN_DELIVERY,
            f"The header 'id' is {received.headers.get('id')!r}; a delivery id (UUID) is expected.",
        )
    return delivery_id


def _parse(received: ReceivedMessage) -> Envelope:
    if received.content_type != CONTENT_TYPE:
        raise Refused(
            DeadReason.INVALID_ENVELOPE, f"Content type {received.content_type!r}: {CONTENT_TYPE!r} is expected."
        )
    try:
        return parse_envelope(received.body, max_bytes=get_settings().max_message_bytes)
    except EnvelopeError as error:
        raise Refused(DeadReason.INVALID_ENVELOPE, str(error)) from None


def _match(delivery_id: UUID, envelope: Envelope) -> None:
    if message_id_of(delivery_id) != envelope.message_id:
        raise Refused(
            DeadReason.INVALID_ENVELOPE,
            f"id: the header names delivery {delivery_id}, which is not one of message {envelope.message_id}.",
        )


def _is_suspect(received: ReceivedMessage) -> bool:
    redelivery = received.headers.get("redelivery")
    return received.redelivered or (isinstance(redelivery, int) and redelivery >= SUSPECT_REDELIVERIES)


def admit(received: ReceivedMessage) -> Incoming:
    """Run the steps.

    Raises:
        Refused: the message goes to the dead-letter queue.
    """
    delivery_id = _identify(received)
    envelope = _parse(received)
    _match(delivery_id, envelope)
    return Incoming(received, delivery_id, envelope, _is_suspect(received))
