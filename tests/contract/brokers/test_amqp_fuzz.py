"""Whatever stands in a message's properties, headers and body belongs to that message alone."""

from __future__ import annotations

import contextlib
import struct

import amqp
import pytest
from amqp.basic_message import Message
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from messaging.brokers import MessageBroker, ReceivedMessage, Topology
from messaging.brokers.rabbitmq.celery_wire import contain_unreadable_messages
from messaging.brokers.rabbitmq.frames import RAW_PROPERTIES, UNREADABLE, FrameDelivery, delivery_handler, encode_table
from messaging.brokers.rabbitmq.link import LINK_ERRORS, Link
from messaging.testing.servers.nodes import RabbitMQNode
from tests.contract.brokers.scenario import Scenario
from tests.support.wire_fuzz import RawPublisher, WildMessage, wild_messages

HEADERS_FLAG = 0x2000
TIMESTAMP_IN_MILLISECONDS = b"\x04whenT" + struct.pack(">Q", 1_764_000_000_123_000)
NO_UTF_8 = b"\x02\xff\xfeS\x00\x00\x00\x01x"
METHOD = b"\x00\x3c\x00\x3c\x03tag" + (9).to_bytes(8, "big") + b"\x00\x00\x00"


def wild(*items: bytes) -> WildMessage:
    table = b"".join(items)
    return WildMessage(HEADERS_FLAG, struct.pack(">I", len(table)) + table, b"the body")


def arrive(message: WildMessage) -> FrameDelivery:
    """Take a message's frames apart."""
    arrived: list[FrameDelivery] = []
    handle = delivery_handler(lambda frame: pytest.fail(f"{frame} is not py-amqp's"), arrived.append)
    for kind, payload in ((1, METHOD), (2, message.header()), (3, message.body)):
        handle((kind, 7, payload))
    (delivery,) = arrived
    return delivery


@pytest.mark.parametrize(
    "message",
    [
        wild(TIMESTAMP_IN_MILLISECONDS),
        wild(NO_UTF_8),
        wild(b"\x01kV", NO_UTF_8),
        wild(b"\x01kS\x00\x00\xff\xffshort"),
        wild(b"\x01k?"),
        wild(b"\xffk"),
        WildMessage(HEADERS_FLAG, b"\x00\x00\x00\xffx", b"the body"),
        WildMessage(0x8000, b"\x01\xff", b"the body"),
        WildMessage(0x8000, b"", b"the body"),
    ],
    ids=repr,
)
def test_what_cannot_be_decoded_is_unreadable_with_its_raw_bytes(message: WildMessage) -> None:
    delivery = arrive(message)
    assert delivery.body == message.body
    assert delivery.unreadable
    assert delivery.headers[UNREADABLE] == delivery.unreadable
    assert bytes.fromhex(delivery.headers[RAW_PROPERTIES]) == struct.pack(">H", message.flags) + message.properties


@settings(max_examples=400, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
@given(wild_messages())
def test_any_properties_become_one_message(message: WildMessage) -> None:
    delivery = arrive(message)
    assert delivery.body == message.body
    assert all(isinstance(key, str) for key in delivery.headers)
    delivery.unreadable.encode("utf-8", "backslashreplace")


@settings(max_examples=400, deadline=None, print_blob=True)
@given(st.integers(0, 0xFFFF), st.binary(max_size=200), st.binary(min_size=1, max_size=20))
@example(HEADERS_FLAG, encode_table({"task": "x" * 50})[:-1], b"x")
def test_any_bytes_become_one_message(flags: int, properties: bytes, body: bytes) -> None:
    assert arrive(WildMessage(flags, properties, body)).body == body


@settings(max_examples=300, deadline=None, print_blob=True)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.binary(max_size=60)), max_size=5))
@example([(1, 1, b"\x00\x3c\x00\x3c\xff")])
@example([(1, 0, b"\x00")])
def test_any_frames_of_a_broker_that_went_mad_end_the_connection(frames: list[tuple[int, int, bytes]]) -> None:
    """Nothing tells where the next frame begins: the link is given up, and another one opened."""
    link = _link_that_reads(frames)
    with contextlib.suppress(*LINK_ERRORS):
        link._handle_frames()


def _link_that_reads(frames: list[tuple[int, int, bytes]]) -> Link:
    link = object.__new__(Link)
    waiting = list(frames)
    link._on_delivery = lambda delivery: None
    link._connection = amqp.Connection("localhost")
    link._connection.on_inbound_frame = link._frame_handler(link._connection, link._connection.on_inbound_method)
    link._transport = type("Frames", (), {"take_frame": lambda _: waiting.pop(0) if waiting else None})()
    return link


@pytest.mark.parametrize(
    "message",
    [
        wild(TIMESTAMP_IN_MILLISECONDS),
        WildMessage(0x8000, b"\x01\xff", b"the body"),
        wild(b"\x04taskS\x00\x00\x00\x01x"),
        wild(b"\x04taskF\x00\x00\x00\x00", b"\x02idS\x00\x00\x00\x01x"),
    ],
    ids=repr,
)
def test_celery_gets_such_a_message_without_its_properties(
    message: WildMessage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What py-amqp, or Celery looking for the task, raises would end the worker's main process."""
    monkeypatch.setattr(Message, "_load_properties", Message._load_properties)  # restored afterwards
    contain_unreadable_messages()
    received = Message()
    received.inbound_header(message.header())
    received.inbound_body(message.body)
    assert received.body == message.body
    assert set(received.properties["application_headers"]) == {UNREADABLE, RAW_PROPERTIES}


@pytest.fixture
def broker_url(rabbitmq: RabbitMQNode) -> str:
    return rabbitmq.url


def test_real_consumers_go_on_and_have_the_raw_bytes(
    rabbitmq: RabbitMQNode, scenario: Scenario, topology: Topology
) -> None:
    """The two that stopped every worker, and a few hundred more; each leaves by the dead-letter queue."""
    publisher = RawPublisher(rabbitmq.url)
    sent: list[WildMessage] = []

    @settings(
        max_examples=150,
        deadline=None,
        print_blob=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(wild_messages())
    @example(wild(TIMESTAMP_IN_MILLISECONDS))
    @example(wild(NO_UTF_8))
    def publish(message: WildMessage) -> None:
        if publisher.publish(message, scenario.quick):
            sent.append(message)

    publish()
    publisher.close()
    bodies = {message.body for message in sent}
    assert wild(NO_UTF_8).body in bodies
    received = _receive_all(scenario.broker, scenario.quick, len(sent))
    assert {message.body for message in received} == bodies
    assert sum(bool(message.unreadable) for message in received) >= 2
    unreadable = {message.body for message in received if message.unreadable}
    for message in received:
        scenario.broker.negative_acknowledge(message, requeue=False)
    dead = _receive_all(scenario.broker, scenario.dead, len(sent))
    assert {message.body for message in dead} == bodies
    assert {message.body for message in dead if message.unreadable} == unreadable
    assert all(RAW_PROPERTIES in message.headers for message in dead if message.unreadable)
    scenario.broker.acknowledge(dead)


HISTORIES = {
    "an array of nothing": b"A\x00\x00\x00\x01V",
    "an array of text": b"A\x00\x00\x00\x06S\x00\x00\x00\x01x",
    "an empty table": b"F\x00\x00\x00\x00",
    "a number": b"I\x00\x00\x00\x01",
    "nothing": b"V",
}


def test_a_forged_history_does_not_end_dead_lettering(rabbitmq: RabbitMQNode, scenario: Scenario) -> None:
    """RabbitMQ's own worker crashes on it, for ever, and with it the dead letters of everybody else."""
    publisher = RawPublisher(rabbitmq.url)
    for name, value in HISTORIES.items():
        forged = wild(b"\x07x-death" + value)
        assert publisher.publish(WildMessage(forged.flags, forged.properties, name.encode()), scenario.quick)
    large = wild(b"\x07x-deathV", b"\x01tS\x00\x00\x00\x01\xff", b"\x01kS\x00\x01\xf0\x00" + b"\xff" * 126_976)
    assert publisher.publish(large, scenario.quick)
    publisher.close()
    scenario.publish(b"innocent")
    for message in _receive_all(scenario.broker, scenario.quick, len(HISTORIES) + 2):
        scenario.broker.negative_acknowledge(message, requeue=False)
    dead = _receive_all(scenario.broker, scenario.dead, len(HISTORIES) + 2)
    assert {message.body.decode() for message in dead} == {*HISTORIES, "innocent", "the body"}
    scenario.broker.acknowledge(dead)


def _receive_all(broker: MessageBroker, queue: str, count: int) -> list[ReceivedMessage]:
    subscription = broker.subscribe(queue, prefetch=count)
    received: list[ReceivedMessage] = []
    while len(received) < count and (batch := broker.receive(subscription, limit=count, timeout=10.0)):
        received += batch
    assert len(received) == count
    return received
