"""Messages as nobody should publish them: any bytes where AMQP has properties, headers and a body.

``tests/support/wire_fuzz_run.py`` publishes them to a real installation.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from uuid import uuid4

from hypothesis import strategies as st

from messaging.brokers.rabbitmq.endpoint import Endpoint
from messaging.brokers.rabbitmq.link import LINK_ERRORS, Link

PERSISTENT = b"\x02"


def _short(data: bytes) -> bytes:
    return bytes([len(data)]) + data


def _long(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _fixed(
    kind: bytes, code: str, values: st.SearchStrategy[int] | st.SearchStrategy[float]
) -> st.SearchStrategy[bytes]:
    return values.map(lambda value: kind + struct.pack(code, value))


def _table(items: list[tuple[bytes, bytes]]) -> bytes:
    return _long(b"".join(_short(key) + value for key, value in items))


keys = st.sampled_from([b"task", b"id", b"lang", b"redelivery", b"x-death", b"\xff\xfe", b""]) | st.binary(max_size=20)
plain_values = st.one_of(
    st.binary(max_size=40).map(lambda data: b"S" + _long(data)),
    st.sampled_from([b"messaging.deliver", b"messaging.mark", b"os.system"]).map(lambda data: b"S" + _long(data)),
    st.binary(max_size=40).map(lambda data: b"x" + _long(data)),
    _fixed(b"T", ">Q", st.integers(0, 2**64 - 1) | st.just(1_764_000_000_123)),
    _fixed(b"I", ">i", st.integers(-(2**31), 2**31 - 1)),
    _fixed(b"i", ">I", st.integers(0, 2**32 - 1)),
    _fixed(b"l", ">q", st.integers(-(2**63), 2**63 - 1)),
    _fixed(b"s", ">h", st.integers(-(2**15), 2**15 - 1)),
    _fixed(b"u", ">H", st.integers(0, 2**16 - 1)),
    _fixed(b"b", ">b", st.integers(-128, 127)),
    _fixed(b"B", ">B", st.integers(0, 255)),
    _fixed(b"t", ">B", st.integers(0, 255)),
    _fixed(b"d", ">d", st.floats()),
    _fixed(b"f", ">f", st.floats(width=32)),
    st.tuples(st.integers(0, 255), st.integers(-(2**31), 2**31 - 1)).map(lambda pair: b"D" + struct.pack(">Bi", *pair)),
    st.just(b"V"),
)
values = st.recursive(
    plain_values,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: b"A" + _long(b"".join(items))),
        st.lists(st.tuples(keys, inner), max_size=4).map(lambda items: b"F" + _table(items)),
    ),
    max_leaves=12,
)
tables = st.lists(st.tuples(keys, values), max_size=8).map(_table)
"""Header tables that a broker takes, whatever a client of it can make of them."""


def _nested(depth: int) -> bytes:
    value = b"V"
    for _ in range(depth):
        value = b"A" + _long(value)
    return _table([(b"deep", value)])


deep_tables = st.integers(50, 4_000).map(_nested)


@dataclass(frozen=True)
class WildMessage:
    """What a publisher puts on the wire.

    Args:
        flags: which properties follow.
        properties: their bytes.
        body: the body.
    """

    flags: int
    properties: bytes
    body: bytes

    def header(self) -> bytes:
        """The payload of the header frame."""
        return struct.pack(">HHQH", 60, 0, len(self.body), self.flags) + self.properties


_short_strings = st.binary(max_size=40).map(_short)
_properties: tuple[tuple[int, st.SearchStrategy[bytes]], ...] = (
    (0x8000, st.sampled_from([b"application/cloudevents+json", b"\xff", b""]).map(_short) | _short_strings),
    (0x4000, _short_strings),
    (0x2000, tables | deep_tables),
    (0x1000, st.just(PERSISTENT)),
    (0x0400, _short_strings),
    (0x0080, _short_strings),
    (0x0040, st.integers(0, 2**64 - 1).map(lambda seconds: struct.pack(">Q", seconds))),
    (0x0020, _short_strings),
)


@st.composite
def wild_messages(draw: st.DrawFn) -> WildMessage:
    """Messages whose properties have the shape that AMQP asks for, with any content. Each has a body of its own."""
    chosen = [(flag, draw(values)) for flag, values in _properties if flag == 0x1000 or draw(st.booleans())]
    properties = b"".join(data for _, data in chosen)
    return WildMessage(sum(flag for flag, _ in chosen), properties, uuid4().bytes + draw(st.binary(max_size=60)))


class RawPublisher:
    """Publishes bytes as they are, one message at a time, and says whether the broker has it.

    Args:
        url: of RabbitMQ.
    """

    def __init__(self, url: str) -> None:
        self._endpoint = Endpoint.parse(url)
        self._link: Link | None = None
        self._confirmed: list[int] = []

    def publish(self, message: WildMessage, queue: str) -> bool:
        """Publish to a queue. False when the broker refused it, as it does what breaks AMQP's rules."""
        self._confirmed.clear()
        try:
            if self._link is None:
                self._link = Link(self._endpoint, name="wild", connect_timeout=5.0)
                self._channel = self._link.open_channel()
                self._channel.confirm_select()
                self._channel.events["basic_ack"].add(lambda tag, _: self._confirmed.append(tag))
            number = self._channel.channel_id
            method = b"\x00\x3c\x00\x28\x00\x00" + _short(b"") + _short(queue.encode()) + b"\x00"
            frames = [(1, method), (2, message.header()), (3, message.body)]
            self._link.write(
                b"".join(struct.pack(">BHI", kind, number, len(data)) + data + b"\xce" for kind, data in frames)
            )
            while not self._confirmed:
                self._link.pump(5.0)
        except LINK_ERRORS:
            self.close()
            return False
        return True

    def close(self) -> None:
        """Drop the connection."""
        if self._link is not None:
            self._link.drop()
            self._link = None
