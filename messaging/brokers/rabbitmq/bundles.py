"""Bundles: several messages to one queue in one AMQP message, because RabbitMQ's work is counted in AMQP messages.

Only this adapter knows of them: what publishes and what receives sees single messages.

    properties   content type ``application/vnd.nexus.bundle``; headers of the Celery task ``messaging.deliver_bundle``
    body         1 byte: the version, 1
                 MessagePack: [content type of all, [[headers, body], …]]

A message alone is never a bundle, and a bundle holds no bundle. Headers that are equal in all are written with each all
the same: to find them costs more than to carry them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any

import msgspec

from messaging.brokers.base import OutgoingMessage

BUNDLE_TYPE = "application/vnd.nexus.bundle"
BUNDLE_TASK = "messaging.deliver_bundle"
MAX_PARTS = 64
"""Messages of a bundle at most, for whoever reads one."""
MAX_BUNDLE_BYTES = 1_048_576
"""Size of a bundle's body at most, for whoever reads one."""

_FULL = 65_536
"""Bytes of bodies from which on a bundle takes no further message: larger ones gain nothing by company."""
_VERSION = 1
_PLAIN = frozenset({str, int, bool, NoneType})

_Headers = dict[str, str | int | bool | None]
Carrier = tuple[OutgoingMessage, tuple[str, ...]]
"""An AMQP message, and the ids of the messages that it carries."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, list[tuple[_Headers, bytes]]]).decode


def carriers(messages: Sequence[OutgoingMessage]) -> list[Carrier]:
    """Say what is to be written for a burst: each AMQP message, and the ids of the messages that it carries.

    What has the same exchange and routing key stays in its order.
    """
    found: list[Carrier] = []
    filling: dict[tuple[str, str], _Group] = {}
    for message in messages:
        place = (message.exchange, message.routing_key)
        group = filling.get(place)
        if group is not None:
            if group.take(message):
                continue
            found += filling.pop(place).carriers()
        if message.bundle_size > 1 and _is_plain(message):
            filling[place] = _Group(message)
        else:
            found.append((message, (message.id,)))
    for group in filling.values():
        found += group.carriers()
    return found


def _is_plain(message: OutgoingMessage) -> bool:
    return _PLAIN.issuperset(map(type, message.headers.values()))


class _Group:
    """Messages that may travel together."""

    def __init__(self, first: OutgoingMessage) -> None:
        self._messages = [first]
        self._size = len(first.body)
        self._most = min(first.bundle_size, MAX_PARTS)

    def take(self, message: OutgoingMessage) -> bool:
        """Add a message to the same place; return whether there was room and they go together."""
        size = self._size + len(message.body)
        if (
            len(self._messages) >= min(self._most, message.bundle_size)
            or size > _FULL
            or message.content_type != self._messages[0].content_type
            or not _is_plain(message)
        ):
            return False
        self._messages.append(message)
        self._size = size
        return True

    def carriers(self) -> list[Carrier]:
        """The AMQP messages in which they travel: one, if it can be."""
        messages = self._messages
        if len(messages) > 1:
            try:
                body = pack([(message.headers, message.body) for message in messages], messages[0].content_type)
            except (OverflowError, UnicodeEncodeError):
                pass  # whether such a header can be carried is for AMQP's codec to say
            else:
                return [(_carrier(messages[0], body), tuple(message.id for message in messages))]
        return [(message, (message.id,)) for message in messages]


def _carrier(first: OutgoingMessage, body: bytes) -> OutgoingMessage:
    return OutgoingMessage(
        id=first.id,
        body=body,
        exchange=first.exchange,
        routing_key=first.routing_key,
        headers={
            "lang": "py",
            "task": BUNDLE_TASK,
            "id": first.id,
            "root_id": first.id,
            "parent_id": None,
            "group": None,
        },
        content_type=BUNDLE_TYPE,
        content_encoding="binary",
        correlation_id=first.correlation_id,
    )


def pack(parts: Sequence[tuple[Mapping[str, Any], bytes]], content_type: str) -> bytes:
    """Return the body of a bundle.

    Args:
        parts: the headers (of text, numbers, booleans and None) and the body of each message.
        content_type: of all of them.

    Raises:
        OverflowError: a number has more than 64 bits.
        UnicodeEncodeError: a text is no Unicode.
    """
    return bytes((_VERSION,)) + _encode((content_type, parts))


def unpack(body: bytes) -> tuple[str, list[tuple[_Headers, bytes]]]:
    """Take a bundle apart.

    Args:
        body: of the AMQP message: whatever somebody published.

    Returns:
        The content type of its messages, and the headers and body of each.

    Raises:
        ValueError: it is no bundle that this version reads; the text says why.
    """
    if len(body) > MAX_BUNDLE_BYTES:
        raise ValueError(f"a bundle of {len(body)} bytes; {MAX_BUNDLE_BYTES} at most are read")
    if body[:1] != bytes((_VERSION,)):
        raise ValueError(f"a bundle of version {body[0] if body else 'none'}; this process reads version {_VERSION}")
    try:
        content_type, parts = _decode(memoryview(body)[1:])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"a damaged bundle: {ascii(str(error))[1:-1]}") from error
    if content_type == BUNDLE_TYPE:
        raise ValueError("a bundle in a bundle")
    if not 0 < len(parts) <= MAX_PARTS:
        raise ValueError(f"a bundle of {len(parts)} messages; 1 to {MAX_PARTS} are read")
    return content_type, parts
