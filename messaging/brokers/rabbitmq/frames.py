"""AMQP 0-9-1 frames of the hot path: publish, deliver, acknowledge. Everything else is left to py-amqp.

A published message is three frames, written here as one piece of bytes, so that a whole burst is one write to the
socket. py-amqp makes a Message object, four buffers and a write for each; that is most of what publishing with it
costs.

    frame   = type (1 method, 2 header, 3 body), channel, size, payload, 0xCE
    method  = class 60 (basic), method (40 publish, 60 deliver, 80 ack, 90 reject), arguments
    header  = class 60, weight 0, body size, property flags, properties
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from struct import Struct
from typing import Any

from amqp.exceptions import FrameSyntaxError
from amqp.serialization import dumps, loads

from messaging.brokers.base import OutgoingMessage

_FRAME = Struct(">BHI")
_CONTENT_HEADER = Struct(">BHIHHQH")
_DELIVER_TAG = Struct(">QBB")
_RECEIVED_HEADER = Struct(">HHQH")
_ACKNOWLEDGE = Struct(">BHIHHQBB")
_LENGTH = Struct(">I")
_LONG_STRING = Struct(">cI")
_INTEGER = Struct(">ci")

_FRAME_END = b"\xce"
_FRAME_OVERHEAD = 8
_BASIC = 60
_PUBLISH_PREFIX = b"\x00\x3c\x00\x28\x00\x00"
_MANDATORY = b"\x01"
DELIVER_METHOD = b"\x00\x3c\x00\x3c"

_CONTENT_TYPE, _CONTENT_ENCODING, _HEADERS = 0x8000, 0x4000, 0x2000
_DELIVERY_MODE, _CORRELATION_ID, _MESSAGE_ID = 0x1000, 0x0400, 0x0080
_PUBLISH_FLAGS = _CONTENT_TYPE | _CONTENT_ENCODING | _HEADERS | _DELIVERY_MODE | _CORRELATION_ID | _MESSAGE_ID
_PERSISTENT = b"\x02"

UNREADABLE, RAW_PROPERTIES = "nexus-unreadable", "nexus-raw-properties"
"""Instead of its headers, a message whose properties cannot be decoded has these two: why, and the bytes in hex."""

_MAX_REASON = 300
_DEEPEST = 32
_MAX_RAW = 40_000  # twice that in hex must fit into a frame again


@lru_cache(maxsize=1024)
def _short_string(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(1, "big") + data


@lru_cache(maxsize=1024)
def _publish_method(channel: int, exchange: str, routing_key: str) -> bytes:
    payload = _PUBLISH_PREFIX + _short_string(exchange) + _short_string(routing_key) + _MANDATORY
    return _FRAME.pack(1, channel, len(payload)) + payload + _FRAME_END


@lru_cache(maxsize=256)
def _content_properties(content_type: str, content_encoding: str) -> bytes:
    return _short_string(content_type) + _short_string(content_encoding)


def encode_table(headers: Mapping[str, Any]) -> bytes:
    """Encode headers as an AMQP field table, as py-amqp does, with a short way for strings, small integers and None.

    Raises:
        ValueError: a header has a type that AMQP cannot carry.
    """
    parts: list[bytes] = []
    for key, value in headers.items():
        if type(value) is str:
            data = value.encode()
            parts += (_short_string(key), _LONG_STRING.pack(b"S", len(data)), data)
        elif type(value) is int and -0x7FFFFFFF <= value <= 0x7FFFFFFF:
            parts += (_short_string(key), _INTEGER.pack(b"I", value))
        elif value is None:  # every message of Celery's has some
            parts += (_short_string(key), b"V")
        else:
            try:
                parts.append(dumps("F", [{key: value}])[_LENGTH.size :])
            except FrameSyntaxError as error:
                raise ValueError(f"header {key!r} is a {type(value).__name__}, which AMQP cannot carry") from error
    table = b"".join(parts)
    return _LENGTH.pack(len(table)) + table


def encode_publish(parts: list[bytes], message: OutgoingMessage, channel: int, frame_max: int) -> None:
    """Append the frames that publish a message: persistent, mandatory.

    Args:
        parts: what is to be written to the socket, in order.
        message: what to publish.
        channel: number of a channel in confirm mode.
        frame_max: bytes that the broker takes in one frame.
    """
    body = message.body
    identifier = message.id.encode()
    correlation = message.correlation_id.encode()
    properties = b"".join(
        (
            _content_properties(message.content_type, message.content_encoding),
            encode_table(message.headers),
            _PERSISTENT,
            len(correlation).to_bytes(1, "big"),
            correlation,
            len(identifier).to_bytes(1, "big"),
            identifier,
        )
    )
    parts += (
        _publish_method(channel, message.exchange, message.routing_key),
        _CONTENT_HEADER.pack(2, channel, 14 + len(properties), _BASIC, 0, len(body), _PUBLISH_FLAGS),
        properties,
        _FRAME_END,
    )
    longest = frame_max - _FRAME_OVERHEAD
    if len(body) <= longest:
        if body:
            parts += (_FRAME.pack(3, channel, len(body)), body, _FRAME_END)
        return
    for start in range(0, len(body), longest):
        piece = body[start : start + longest]
        parts += (_FRAME.pack(3, channel, len(piece)), piece, _FRAME_END)


def encode_acknowledge(channel: int, tag: int, *, multiple: bool) -> bytes:
    """Return the frame that acknowledges one delivery, or with ``multiple`` every one up to it."""
    return _ACKNOWLEDGE.pack(1, channel, 13, _BASIC, 80, tag, multiple, 0xCE)


def encode_reject(channel: int, tag: int, *, requeue: bool) -> bytes:
    """Return the frame that gives one delivery back to its queue, or away to the dead-letter exchange."""
    return _ACKNOWLEDGE.pack(1, channel, 13, _BASIC, 90, tag, requeue, 0xCE)


class FrameDelivery:
    """A message on its way in: made of a method frame, filled by a header frame and body frames.

    Its properties and headers are whatever somebody published: what cannot be decoded in them makes this one message
    ``unreadable``, and nothing else.
    """

    __slots__ = (
        "_missing",
        "_pieces",
        "body",
        "consumer_tag",
        "content_type",
        "headers",
        "redelivered",
        "tag",
        "unreadable",
    )

    def __init__(self, method: bytes) -> None:
        end = 5 + method[4]
        self.consumer_tag = method[5:end].decode()
        self.tag, redelivered, _ = _DELIVER_TAG.unpack_from(method, end)
        self.redelivered = bool(redelivered & 1)
        self.content_type = ""
        self.headers: Mapping[str, Any] = {}
        self.body = b""
        self.unreadable = ""
        self._missing = -1
        self._pieces: list[bytes] = []

    def add_frame(self, kind: int, payload: bytes) -> bool:
        """Take the next frame of the message.

        Args:
            kind: 2 for the header frame, 3 for a body frame.
            payload: the frame's content.

        Returns:
            Whether the message is complete.
        """
        if kind == 2:
            _, _, self._missing, flags = _RECEIVED_HEADER.unpack_from(payload)
            try:
                self._read_properties(payload, flags)
            except Exception as error:  # noqa: BLE001 - whatever a decoder raises belongs to this message alone
                self._give_up(payload, error)
            return self._missing == 0
        self._missing -= len(payload)
        if self._missing > 0 or self._pieces:
            self._pieces.append(payload)
            if self._missing <= 0:
                self.body = b"".join(self._pieces)
        else:
            self.body = payload
        return self._missing <= 0

    def _read_properties(self, payload: bytes, flags: int) -> None:
        offset = _RECEIVED_HEADER.size
        if flags & _CONTENT_TYPE:
            end = offset + 1 + payload[offset]
            self.content_type = payload[offset + 1 : end].decode("utf-8", "surrogatepass")
            offset = end
        if flags & _CONTENT_ENCODING:
            offset += 1 + payload[offset]
        if flags & _HEADERS:
            self.headers = decode_table(payload, offset)
            if UNREADABLE in self.headers:  # one that a consumer sent on to the dead-letter queue
                self.unreadable = str(self.headers[UNREADABLE])[:_MAX_REASON]

    def _give_up(self, payload: bytes, error: Exception) -> None:
        """Keep the raw properties where the headers would be, so that they reach the dead letter."""
        self.headers = headers = unreadable_headers(payload[_RECEIVED_HEADER.size - 2 :], error)
        self.unreadable = headers[UNREADABLE]
        self.content_type = ""


def unreadable_headers(properties: bytes, error: Exception) -> dict[str, str]:
    """Return what stands where the headers would be in a message whose properties cannot be decoded.

    Args:
        properties: the property flags and what follows.
        error: what the decoder raised.
    """
    reason = ascii(f"{type(error).__name__}: {error}")[1:-1]
    return {UNREADABLE: reason[:_MAX_REASON], RAW_PROPERTIES: properties[:_MAX_RAW].hex()}


def decode_table(payload: bytes, offset: int) -> Mapping[str, Any]:
    """Decode an AMQP field table, with a short way for tables that hold only strings, small integers and None.

    Args:
        payload: bytes that contain the table.
        offset: where its length field starts.

    Raises:
        Exception: the table is not what AMQP allows, or holds what Python cannot: py-amqp raises many types.
    """
    start = offset
    offset += _LENGTH.size
    end = offset + _LENGTH.unpack_from(payload, start)[0]
    table: dict[str, Any] = {}
    while offset < end:
        value_at = offset + 1 + payload[offset]
        key = payload[offset + 1 : value_at].decode()
        kind = payload[value_at]
        if kind == 0x53:  # S, a string
            offset = value_at + 5 + _LENGTH.unpack_from(payload, value_at + 1)[0]
            table[key] = payload[value_at + 5 : offset].decode("utf-8", "surrogateescape")
        elif kind == 0x49:  # I, a small integer
            offset = value_at + 5
            table[key] = int.from_bytes(payload[value_at + 1 : offset], "big", signed=True)
        elif kind == 0x56:  # V, nothing
            offset = value_at + 1
            table[key] = None
        else:
            table, offset = _decode_any_table(payload, start)
    if offset != end or end > len(payload):
        raise ValueError(f"a table of {end - start} bytes ends at byte {offset - start} of {len(payload) - start}")
    return table


def _decode_any_table(payload: bytes, offset: int) -> tuple[dict[str, Any], int]:
    values, end = loads("F", payload, offset)
    table: dict[Any, Any] = values[0]
    strange = next((key for key in table if not isinstance(key, str)), None)
    if strange is not None:  # py-amqp leaves a key that is no UTF-8 as bytes
        raise ValueError(f"the header {strange!r} is no UTF-8")
    _check_depth(table, _DEEPEST)
    return table, end


def _check_depth(value: Any, levels: int) -> None:
    """Whoever walks a header, to store or to show it, does so by recursion."""
    if isinstance(value, dict | list):
        if not levels:
            raise ValueError(f"a header is nested deeper than {_DEEPEST} levels")
        for item in value.values() if isinstance(value, dict) else value:
            _check_depth(item, levels - 1)


def delivery_handler(
    fallback: Callable[[Any], bool], on_delivery: Callable[[FrameDelivery], None]
) -> Callable[[Any], bool]:
    """Return a frame handler that takes deliveries apart itself and gives every other frame to py-amqp's.

    Args:
        fallback: py-amqp's frame handler.
        on_delivery: called with every complete delivery.
    """
    arriving: dict[int, FrameDelivery] = {}

    def on_frame(frame: tuple[int, int, bytes]) -> bool:
        kind, channel, payload = frame
        if kind == 1:
            if payload[:4] == DELIVER_METHOD:
                arriving[channel] = FrameDelivery(payload)
                return False
        elif (delivery := arriving.get(channel)) is not None:
            if delivery.add_frame(kind, payload):
                del arriving[channel]
                on_delivery(delivery)
                return True
            return False
        return fallback(frame)

    return on_frame
