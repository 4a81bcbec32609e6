"""From the broker's dead-letter queue to the dead letters that operators see.

What the broker gave up although the log knows it as unhandled goes back to PENDING. Everything else gets a DeadLetter
row with its raw bytes and the reason, once, and only then leaves the queue.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from messaging.brokers import MessageBroker, ReceivedMessage, Subscription
from messaging.brokers.topology import DEAD_LETTER_QUEUE
from messaging.conf import get_settings
from messaging.core.envelope import parse_envelope
from messaging.core.errors import BrokerError, EnvelopeError
from messaging.models import FINAL_STATES, DeadLetter, DeadReason, Delivery, DeliveryState, Message
from messaging.receiving import settling
from messaging.receiving.pipeline import Refused, admit
from messaging.transport import wire

logger = logging.getLogger("nexus.relay")

BATCH = 100
LONGEST_HEADER = 4_000


def _text(value: object) -> str:
    """Text that every database can store: AMQP lets NUL and lone surrogates through, PostgreSQL takes neither."""
    return str(value).encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def _plain(value: Any) -> Any:
    """A header's value as JSON that every database can store."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {_text(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _text(value)


def _bounded(headers: Mapping[str, Any]) -> dict[str, Any]:
    plain = {_text(key)[:200]: _plain(value) for key, value in headers.items()}
    return {
        key: value if len(str(value)) <= LONGEST_HEADER else str(value)[:LONGEST_HEADER] for key, value in plain.items()
    }


def store(message: ReceivedMessage) -> None:
    """Make a dead-lettered message durable, in one transaction."""
    if message.headers.get("task") == wire.MARK_TASK:
        return  # the relay sends another
    try:
        incoming = admit(message)
        reason, detail = DeadReason.UNKNOWN_DELIVERY, "The log has no such delivery."
        delivery = Delivery.objects.filter(pk=incoming.delivery_id).first()
        agent, message_type = incoming.envelope.subject, incoming.envelope.type
    except Refused as refused:
        unreadable = _unreadable_delivery(message)
        if unreadable is not None:
            settling.bury(unreadable, refused.reason, "Refused", _text(refused.detail))
            return
        reason, detail = refused.reason, refused.detail
        delivery, agent, message_type = None, "", ""
    if delivery is not None:
        if delivery.state not in FINAL_STATES and delivery.state != DeliveryState.DEAD:
            # The broker's count says nothing about this one: it charges every message that a dying worker held.
            Delivery.objects.filter(pk=delivery.pk, state=DeliveryState.SENT).update(
                state=DeliveryState.PENDING, available_at=timezone.now()
            )
        return
    with transaction.atomic():
        DeadLetter.objects.create(
            agent=agent[:100],
            message_type=message_type[:200],
            reason=reason,
            detail=_text(detail),
            body=message.body,
            headers=_bounded(message.headers),
        )


def _unreadable_delivery(message: ReceivedMessage) -> UUID | None:
    """The delivery whose own bytes in the log are no valid envelope, such as after MAX_MESSAGE_BYTES was lowered.

    Sending it again would end here again. Only the log's bytes decide: a forged or damaged copy proves nothing.
    """
    delivery_id = wire.delivery_id_of(message.headers)
    delivery = None if delivery_id is None else Delivery.objects.filter(pk=delivery_id).first()
    stored = None if delivery is None else Message.objects.filter(pk=delivery.message_id).first()
    if stored is None or bytes(stored.envelope) != message.body:
        return None
    try:
        parse_envelope(message.body, max_bytes=get_settings().max_message_bytes)
    except EnvelopeError:
        return delivery_id
    return None


class DeadLetterReader:
    """Reads the dead-letter queue for the leading relay.

    Args:
        broker: the transport.
    """

    def __init__(self, broker: MessageBroker) -> None:
        self._broker = broker
        self._subscription: Subscription | None = None

    def read(self) -> int:
        """Store what is in the queue now, at most 100 messages; return how many."""
        if self._subscription is None:
            queue = get_settings().queue_prefix + DEAD_LETTER_QUEUE
            self._subscription = self._broker.subscribe(queue, prefetch=BATCH)
        received = self._broker.receive(self._subscription, limit=BATCH, timeout=0.0)
        for message in received:
            store(message)
        if received:
            self._broker.acknowledge(received)
            logger.warning("%d messages came from the dead-letter queue.", len(received))
        return len(received)

    def close(self) -> None:
        """Give the subscription up."""
        if self._subscription is not None:
            try:
                self._broker.unsubscribe(self._subscription)
            except BrokerError as error:
                logger.warning("Could not unsubscribe: %s", error)
            self._subscription = None
