"""Messages that RabbitMQ must not dead-letter itself: the consumer sends them on, with headers that are in order.

One message of a bundle, because RabbitMQ would take the others with it. And what it cannot dead-letter:

RabbitMQ notes each dead-lettering in the header ``x-death``, a list of tables. A publisher may have put anything there,
and RabbitMQ's worker for at-least-once dead-lettering then crashes, again and again, on this one message: no other
message of the queue is dead-lettered any more (seen with 3.10.8). Of a message that cannot be decoded nobody knows
what it has there.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Any
from uuid import uuid4

from messaging.brokers.base import Confirmation, OutgoingMessage, ReceivedMessage
from messaging.brokers.rabbitmq.consuming import OpenBundle
from messaging.brokers.rabbitmq.publishing import PublishingSide
from messaging.brokers.topology import Topology
from messaging.core.errors import BrokerError

_DEATHS = "x-death"
_MAX_HEADERS = 100_000  # bytes; a frame takes 131,072
_MAX_SHORT_STRING = 60  # characters, of which one takes four bytes at most
_OVERHEAD = 16


def must_be_sent_on(message: ReceivedMessage) -> bool:
    """Whether RabbitMQ could fail to dead-letter a message, or would dead-letter others with it."""
    if message.unreadable or isinstance(message._handle, OpenBundle):
        return True
    deaths = message.headers.get(_DEATHS)
    if deaths is None:
        return _DEATHS in message.headers
    return not (isinstance(deaths, list) and all(isinstance(death, dict) for death in deaths))


def send_on(message: ReceivedMessage, topology: Topology, publisher: PublishingSide, timeout: float) -> bool:
    """Publish a message to its queue's dead-letter exchange, without its history, and wait for the confirm.

    Args:
        message: what to send on.
        topology: names the exchange.
        publisher: a connection of its own.
        timeout: seconds to wait.

    Returns:
        Whether the broker has it. If not, it must go back to its queue.
    """
    exchange = next((queue.dead_letter_exchange for queue in topology.queues if queue.name == message.queue), None)
    if exchange is None:
        return True  # such a queue drops what is rejected
    copy = OutgoingMessage(
        id=str(uuid4()),
        body=message.body,
        exchange=exchange,
        routing_key=message.queue,
        headers=_without_history(message.headers),
        content_type=_text(message.content_type)[:_MAX_SHORT_STRING],
    )
    deadline = monotonic() + timeout
    try:
        publisher.begin((copy,))
        while publisher.outstanding and (patience := deadline - monotonic()) > 0:
            if publisher.collect(patience).get(copy.id) is Confirmation.CONFIRMED:
                return True
    except BrokerError:
        pass
    return False


def _without_history(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Headers that can be encoded again and fit into a frame; what cannot is carried as text, cut."""
    kept: dict[str, Any] = {}
    room = _MAX_HEADERS
    for key, value in headers.items():
        name = f"{_DEATHS}-was" if key == _DEATHS else key
        plain = value if value is None or (isinstance(value, int) and abs(value) < 2**63) else _text(value)
        size = len(name.encode()) + len(plain.encode() if isinstance(plain, str) else "") + _OVERHEAD
        if size <= room:
            kept[name] = plain
            room -= size
    return kept


def _text(value: object) -> str:
    text = value if isinstance(value, str) else ascii(value)
    return text.encode("utf-8", "backslashreplace").decode()
