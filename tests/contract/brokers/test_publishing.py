"""What a broker says about published messages, and where they go."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import pytest

from messaging.brokers import Confirmation, MessageBroker, QueueSpec
from messaging.testing.servers.waiting import wait_until
from tests.contract.brokers.scenario import PATIENCE, Scenario


def test_a_message_reaches_its_queue_and_no_other(scenario: Scenario) -> None:
    assert scenario.broker.publish(scenario.message(b"hello")) is Confirmation.CONFIRMED
    assert scenario.bodies(scenario.quick) == [b"hello"]
    assert scenario.bodies(scenario.leased) == []
    assert scenario.bodies(scenario.dead) == []


def test_body_headers_and_content_type_arrive_as_they_were_sent(scenario: Scenario) -> None:
    headers = {
        "task": "messaging.deliver",
        "workflow": "ä€😀",
        "n": -7,
        "big": 2**40,
        "flag": True,
        "none": None,
        "list": [1, "x"],
    }
    body = bytes(range(256)) * 5
    scenario.broker.publish(scenario.message(body, headers=headers))
    (message,) = scenario.receive(scenario.broker.subscribe(scenario.quick, prefetch=1), 1)
    assert message.body == body
    assert dict(message.headers) == headers
    assert message.content_type == "application/cloudevents+json"
    assert message.queue == scenario.quick
    assert message.redelivered is False


@pytest.mark.parametrize("size", [0, 1, 131_064, 131_065, 1_000_000])
def test_bodies_of_any_size(scenario: Scenario, size: int) -> None:
    assert scenario.broker.publish(scenario.message(b"x" * size)) is Confirmation.CONFIRMED
    assert [len(body) for body in scenario.bodies(scenario.quick)] == [size]


def test_an_unroutable_message_is_returned_and_its_neighbours_are_confirmed(scenario: Scenario) -> None:
    first, lost, last = scenario.message(), scenario.message(to="nobody"), scenario.message()
    assert scenario.broker.publish_many([first, lost, last]) == {
        first.id: Confirmation.CONFIRMED,
        lost.id: Confirmation.RETURNED,
        last.id: Confirmation.CONFIRMED,
    }
    assert scenario.broker.publish(scenario.message()) is Confirmation.CONFIRMED
    assert len(scenario.bodies(scenario.quick)) == 3


def test_an_unknown_exchange_returns_the_message_and_the_next_burst_is_confirmed(scenario: Scenario) -> None:
    """Silence would open the circuit breaker; this is an answer, and says what is missing."""
    assert scenario.broker.publish(scenario.message(exchange="nowhere"), timeout=PATIENCE) is Confirmation.RETURNED
    assert scenario.broker.publish(scenario.message(), timeout=PATIENCE) is Confirmation.CONFIRMED


def test_who_publishes_before_anybody_declared_declares_and_publishes_again(
    connect: Callable[[], MessageBroker],
) -> None:
    scenario = Scenario(connect())
    burst = scenario.burst(20)
    known = scenario.broker.publish_many(burst, timeout=PATIENCE)
    assert set(known.values()) == {Confirmation.RETURNED}
    scenario.broker.initialize()
    known = scenario.broker.publish_many(burst, timeout=PATIENCE)
    assert set(known.values()) == {Confirmation.CONFIRMED}
    assert len(scenario.bodies(scenario.quick)) == 20


def test_a_full_queue_refuses(scenario: Scenario) -> None:
    queue = f"{scenario.quick}.small"
    scenario.broker.create_queue(QueueSpec(name=queue, max_length=5))
    known = [scenario.broker.publish(scenario.message(to=queue, exchange="")) for _ in range(40)]
    assert known[:5] == [Confirmation.CONFIRMED] * 5
    assert known[-1] is Confirmation.REFUSED  # RabbitMQ takes a few more than the limit
    assert set(known) == {Confirmation.CONFIRMED, Confirmation.REFUSED}
    assert len(scenario.bodies(queue)) == known.count(Confirmation.CONFIRMED)
    wait_until(lambda: scenario.broker.queue_depth(queue) == 0, PATIENCE, "the queue to be empty")
    assert scenario.broker.publish(scenario.message(to=queue, exchange="")) is Confirmation.CONFIRMED


def test_a_burst_of_a_thousand_is_confirmed_and_kept_in_order(scenario: Scenario) -> None:
    messages = scenario.burst(1000)
    known = scenario.broker.publish_many(messages, timeout=PATIENCE)
    assert known == dict.fromkeys((message.id for message in messages), Confirmation.CONFIRMED)
    assert scenario.bodies(scenario.quick) == [message.body for message in messages]


def test_bursts_can_be_written_before_earlier_ones_are_collected(scenario: Scenario) -> None:
    broker, bursts = scenario.broker, [scenario.burst(50) for _ in range(4)]
    for burst in bursts:
        broker.publish_begin(burst)
    known: dict[str, Confirmation] = {}
    deadline = monotonic() + PATIENCE
    while broker.outstanding and monotonic() < deadline:
        known.update(broker.publish_collect(deadline - monotonic()))
    assert known == {message.id: Confirmation.CONFIRMED for burst in bursts for message in burst}
    assert broker.outstanding == 0
    assert broker.publish_collect(0) == {}


def test_publish_many_refuses_to_mix_with_an_uncollected_burst(scenario: Scenario) -> None:
    scenario.broker.publish_begin(scenario.burst(1))
    with pytest.raises(RuntimeError, match="collect"):
        scenario.broker.publish_many(scenario.burst(1))


def test_nothing_to_publish(broker: MessageBroker) -> None:
    assert broker.publish_many([]) == {}
    assert broker.publish_collect(PATIENCE) == {}


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [
        ("order.*", {"order.new", "order.paid"}),
        ("order.#", {"order", "order.new", "order.paid", "order.new.eu"}),
        ("*.new.#", {"order.new", "order.new.eu"}),
        ("#.eu", {"order.new.eu", "eu"}),
        ("#", {"order", "order.new", "order.paid", "order.new.eu", "eu"}),
        ("order.new", {"order.new"}),
        ("*", {"order", "eu"}),
    ],
)
def test_a_topic_routes_by_pattern(scenario: Scenario, pattern: str, keys: set[str]) -> None:
    topic, queue = f"{scenario.exchange}.topic", f"{scenario.quick}.subscriber"
    scenario.broker.create_topic(topic)
    scenario.broker.create_queue(QueueSpec(name=queue))
    scenario.broker.bind(queue, topic, pattern)
    published = ["order", "order.new", "order.paid", "order.new.eu", "eu"]
    messages = {key: scenario.message(key.encode(), to=key, exchange=topic) for key in published}
    known = scenario.broker.publish_many(list(messages.values()))
    assert {key for key in published if known[messages[key].id] is Confirmation.CONFIRMED} == keys
    assert {key for key in published if known[messages[key].id] is Confirmation.RETURNED} == set(published) - keys
    assert {body.decode() for body in scenario.bodies(queue)} == keys


def test_a_topic_gives_each_bound_queue_a_copy_and_a_queue_never_two(scenario: Scenario) -> None:
    topic = f"{scenario.exchange}.topic"
    scenario.broker.create_topic(topic)
    for queue, pattern in ((scenario.quick, "a.*"), (scenario.quick, "a.#"), (scenario.leased, "a.b")):
        scenario.broker.bind(queue, topic, pattern)
    assert scenario.broker.publish(scenario.message(b"x", to="a.b", exchange=topic)) is Confirmation.CONFIRMED
    assert scenario.bodies(scenario.quick) == [b"x"]
    assert scenario.bodies(scenario.leased) == [b"x"]
