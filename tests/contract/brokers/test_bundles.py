"""Messages that may travel together, on every broker; what is RabbitMQ's alone, on RabbitMQ."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest

from messaging.brokers import Confirmation, MessageBroker, OutgoingMessage, ReceivedMessage, Topology
from messaging.brokers.rabbitmq.bundles import BUNDLE_TASK, BUNDLE_TYPE, MAX_BUNDLE_BYTES, MAX_PARTS, pack
from messaging.testing.servers.nodes import RabbitMQNode
from messaging.testing.servers.waiting import wait_until
from tests.contract.brokers.scenario import Scenario

SIZE = 4
WAIT = 60.0


def together(scenario: Scenario, count: int, *, to: str | None = None) -> list[OutgoingMessage]:
    """Messages that may travel four together; their bodies are 0, 1, 2, …"""
    return [
        OutgoingMessage(
            id=str(uuid4()),
            body=b"%d" % number,
            exchange=scenario.exchange,
            routing_key=to or scenario.quick,
            headers={"task": "messaging.deliver", "number": number, "flag": True, "none": None},
            bundle_size=SIZE,
        )
        for number in range(count)
    ]


def published(scenario: Scenario, count: int) -> list[OutgoingMessage]:
    messages = together(scenario, count)
    known = scenario.broker.publish_many(messages, timeout=WAIT)
    assert known == dict.fromkeys((message.id for message in messages), Confirmation.CONFIRMED)
    return messages


def bodies(messages: list[ReceivedMessage]) -> list[bytes]:
    return [message.body for message in messages]


def waits(scenario: Scenario, queue: str, count: int) -> None:
    wait_until(lambda: scenario.broker.queue_depth(queue) == count, WAIT, f"{count} to wait in {queue}")


def test_they_arrive_as_they_were_published_and_in_order(scenario: Scenario) -> None:
    messages = published(scenario, 10)
    received = scenario.receive(scenario.broker.subscribe(scenario.quick, prefetch=100), 10)
    assert bodies(received) == [message.body for message in messages]
    for got, sent in zip(received, messages, strict=True):
        assert dict(got.headers) == dict(sent.headers)
        assert (got.content_type, got.redelivered, got.unreadable) == (sent.content_type, False, "")
    scenario.broker.acknowledge(received)
    scenario.broker.close()
    waits(scenario, scenario.quick, 0)


def test_no_more_than_the_limit_is_handed_out_and_the_rest_comes_next(scenario: Scenario) -> None:
    published(scenario, 6)
    subscription = scenario.broker.subscribe(scenario.quick, prefetch=100)
    found: list[ReceivedMessage] = []
    while len(found) < 6:
        got = scenario.broker.receive(subscription, limit=1, timeout=WAIT)
        assert len(got) == 1
        found += got
    assert bodies(found) == [b"%d" % number for number in range(6)]


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5, 6, 7), (7, 6, 5, 4, 3, 2, 1, 0), (0, 4, 2, 6, 1, 5, 3, 7)])
def test_acknowledged_one_by_one_in_any_order_and_twice_all_are_gone(
    scenario: Scenario, order: tuple[int, ...]
) -> None:
    published(scenario, 8)
    subscription = scenario.broker.subscribe(scenario.quick, prefetch=100)
    received = scenario.receive(subscription, 8)
    for index in order:
        scenario.broker.acknowledge([received[index], received[index]])
    scenario.publish(b"after")
    (after,) = scenario.receive(subscription, 1)
    assert after.body == b"after", "a tag acknowledged twice would have closed the channel"
    scenario.broker.acknowledge([after])
    scenario.broker.close()
    waits(scenario, scenario.quick, 0)


def test_what_is_not_acknowledged_comes_again(scenario: Scenario) -> None:
    published(scenario, 8)
    received = scenario.receive(scenario.broker.subscribe(scenario.quick, prefetch=100), 8)
    scenario.broker.acknowledge([received[index] for index in (0, 1, 2, 4, 5, 6, 7)])
    scenario.broker.close()
    again = scenario.receive(
        scenario.broker.subscribe(scenario.quick, prefetch=100), 4 if scenario.broker.bundles else 1
    )
    assert bodies(again)[-1] == b"3"
    assert all(message.redelivered for message in again)
    scenario.broker.acknowledge(again)
    scenario.broker.close()
    waits(scenario, scenario.quick, 0)


def test_one_that_is_given_back_comes_again(scenario: Scenario) -> None:
    published(scenario, 4)
    subscription = scenario.broker.subscribe(scenario.quick, prefetch=100)
    received = scenario.receive(subscription, 4)
    scenario.broker.negative_acknowledge(received[1], requeue=True)
    scenario.broker.negative_acknowledge(received[1], requeue=True)
    scenario.broker.acknowledge([received[index] for index in (3, 0, 2)])
    again = scenario.receive(subscription, 4 if scenario.broker.bundles else 1)
    assert b"1" in bodies(again)
    assert all(message.redelivered for message in again)
    scenario.broker.acknowledge(again)
    scenario.broker.close()
    waits(scenario, scenario.quick, 0)


def test_only_the_one_that_is_rejected_becomes_a_dead_letter(scenario: Scenario) -> None:
    (_, sent, *_) = published(scenario, 4)
    received = scenario.receive(scenario.broker.subscribe(scenario.quick, prefetch=100), 4)
    scenario.broker.acknowledge(received[:1])
    scenario.broker.negative_acknowledge(received[1], requeue=False)
    scenario.broker.acknowledge(received[2:])
    (dead,) = scenario.receive(scenario.broker.subscribe(scenario.dead, prefetch=10), 1)
    assert (dead.body, dead.content_type) == (b"1", sent.content_type)
    assert {name: dead.headers[name] for name in ("task", "number")} == {"task": "messaging.deliver", "number": 1}
    scenario.broker.acknowledge([dead])
    scenario.broker.close()
    assert (scenario.bodies(scenario.quick), scenario.bodies(scenario.dead)) == ([], [])


def test_no_queue_returns_every_one_of_them(scenario: Scenario) -> None:
    lost, kept = together(scenario, 6, to="nowhere"), together(scenario, 6)
    mixed = [message for pair in zip(lost, kept, strict=True) for message in pair]
    known = scenario.broker.publish_many(mixed, timeout=WAIT)
    assert {message.id for message in lost} == {name for name, said in known.items() if said == "returned"}
    assert {message.id for message in kept} == {name for name, said in known.items() if said == "confirmed"}
    assert scenario.broker.outstanding == 0
    received = scenario.receive(scenario.broker.subscribe(scenario.quick, prefetch=10), 6)
    assert bodies(received) == [message.body for message in kept]


def test_outstanding_counts_messages(scenario: Scenario) -> None:
    messages = together(scenario, 10)
    scenario.broker.publish_begin(messages)
    assert scenario.broker.outstanding == 10
    known: dict[str, Confirmation] = {}

    def all_known() -> bool:
        known.update(scenario.broker.publish_collect(1.0))
        assert scenario.broker.outstanding == 10 - len(known)
        return len(known) == 10

    wait_until(all_known, WAIT, "every confirm")
    assert set(known.values()) == {Confirmation.CONFIRMED}


class TestRabbitMQ:
    """What only RabbitMQ's adapter does."""

    @pytest.fixture
    def broker_url(self, rabbitmq: RabbitMQNode) -> str:
        return rabbitmq.url

    @pytest.fixture
    def raw(self, scenario: Scenario) -> Callable[..., None]:
        def publish(body: bytes, content_type: str = BUNDLE_TYPE) -> None:
            carrier = OutgoingMessage(
                id="forged",
                body=body,
                exchange=scenario.exchange,
                routing_key=scenario.quick,
                headers={"task": BUNDLE_TASK, "id": "forged"},
                content_type=content_type,
            )
            assert scenario.broker.publish(carrier, timeout=WAIT) is Confirmation.CONFIRMED

        return publish

    def test_four_are_one_message(self, scenario: Scenario) -> None:
        published(scenario, 10)
        waits(scenario, scenario.quick, 3)

    def test_a_cut_connection_brings_a_half_acknowledged_bundle_again(
        self, scenario: Scenario, rabbitmq: RabbitMQNode
    ) -> None:
        subscription = scenario.broker.subscribe(scenario.quick, prefetch=10)
        published(scenario, 4)
        first = scenario.receive(subscription, 4)
        scenario.broker.acknowledge(first[:2])
        rabbitmq.close_all_connections()
        again: list[ReceivedMessage] = []

        def all_again() -> bool:
            again.extend(scenario.broker.receive(subscription, limit=2, timeout=0.2))
            return len(again) >= 4

        wait_until(all_again, WAIT, "the bundle to come again")
        assert bodies(again) == bodies(first)
        assert all(message.redelivered for message in again)
        scenario.broker.acknowledge(first)  # of a connection that is gone: these tags are in use again
        scenario.broker.negative_acknowledge(first[0], requeue=True)
        scenario.broker.acknowledge(again[:3])
        scenario.broker.close()
        third = scenario.receive(scenario.broker.subscribe(scenario.quick, prefetch=10), 4)
        assert bodies(third) == bodies(first), "the fourth was never acknowledged"

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"garbage",
            b"\x02" + pack([({}, b"x")], "t")[1:],
            pack([({}, b"x")] * (MAX_PARTS + 1), "t"),
            pack([({}, b"x")], BUNDLE_TYPE),
            pack([({}, b"x" * MAX_BUNDLE_BYTES)], "t"),
            pack([({"x": [1]}, b"x")], "t"),
        ],
        ids=["empty", "garbage", "version", "many", "nested", "large", "types"],
    )
    def test_a_malformed_bundle_is_one_unreadable_message(
        self, scenario: Scenario, raw: Callable[..., None], body: bytes
    ) -> None:
        raw(body)
        published(scenario, 2)
        subscription = scenario.broker.subscribe(scenario.quick, prefetch=10)
        strange, *others = scenario.receive(subscription, 3)
        assert (strange.body, strange.content_type) == (body, BUNDLE_TYPE)
        assert "bundle" in strange.unreadable
        assert bodies(others) == [b"0", b"1"]
        scenario.broker.negative_acknowledge(strange, requeue=False)
        (dead,) = scenario.receive(scenario.broker.subscribe(scenario.dead, prefetch=1), 1)
        assert (dead.body, dead.unreadable) == (body, strange.unreadable)
        scenario.broker.acknowledge([dead, *others])
        scenario.broker.close()
        assert scenario.bodies(scenario.quick) == []

    def test_a_bundle_that_the_broker_gives_up_arrives_in_parts(
        self, scenario: Scenario, topology: Topology, raw: Callable[..., None]
    ) -> None:
        """Such as at its delivery limit: RabbitMQ knows only whole messages."""
        carrier = OutgoingMessage(
            id="x",
            body=pack([({"task": "a", "x-death": 1}, b"1"), ({"task": "b"}, b"2")], "text/plain"),
            exchange=topology.name("nexus.dlx"),
            routing_key=scenario.quick,
            headers={"task": BUNDLE_TASK, "x-first-death-reason": "delivery_limit"},
            content_type=BUNDLE_TYPE,
        )
        assert scenario.broker.publish(carrier, timeout=WAIT) is Confirmation.CONFIRMED
        dead = scenario.receive(scenario.broker.subscribe(scenario.dead, prefetch=1), 2)
        assert [(message.body, message.headers["task"]) for message in dead] == [(b"1", "a"), (b"2", "b")]
        assert {message.headers["x-first-death-reason"] for message in dead} == {"delivery_limit"}
        for message in dead:
            scenario.broker.negative_acknowledge(message, requeue=False)  # the queue drops what is rejected
        scenario.broker.close()
        assert scenario.bodies(scenario.dead) == []

    def test_two_consumers_share_bundles(self, scenario: Scenario, connect: Callable[[], MessageBroker]) -> None:
        other = connect()
        mine, its = scenario.broker.subscribe(scenario.quick, prefetch=1), other.subscribe(scenario.quick, prefetch=1)
        published(scenario, 8)
        assert scenario.receive(mine, 4)[0].body != scenario.receive(its, 4, broker=other)[0].body
        assert scenario.is_silent(mine)
