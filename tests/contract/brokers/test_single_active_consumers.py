"""Partitions on RabbitMQ: one consumer at a time, the next one when it gives way or dies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import pytest

from messaging.brokers import MessageBroker, ReceivedMessage, create_broker, nexus_topology
from messaging.core.errors import TopologyMismatch
from messaging.testing.servers.nodes import RabbitMQNode
from messaging.testing.servers.waiting import wait_until
from tests.contract.brokers.scenario import Scenario

WAIT = 60.0


@pytest.fixture
def brokers(rabbitmq: RabbitMQNode) -> Iterator[tuple[MessageBroker, MessageBroker]]:
    """Two brokers on the same two partitions, as two worker processes have them."""
    topology = nexus_topology(f"{uuid4().hex[:12]}.", 2)
    first, second = (create_broker(rabbitmq.url, topology=topology) for _ in range(2))
    with first, second:
        first.initialize()
        yield first, second


def partition(broker: MessageBroker) -> str:
    return broker.topology.name("nexus.transactional.0")


def test_the_queue_has_the_argument(brokers: tuple[MessageBroker, MessageBroker]) -> None:
    broker, _ = brokers
    spec = next(queue for queue in broker.topology.queues if queue.name == partition(broker))
    broker.create_queue(spec)
    with pytest.raises(TopologyMismatch, match="single-active-consumer"):
        broker.create_queue(replace(spec, single_active_consumer=False))


def test_who_gives_way_keeps_what_it_has_and_comes_last(brokers: tuple[MessageBroker, MessageBroker]) -> None:
    first, second = brokers
    queue = partition(first)
    scenario = Scenario(first)
    mine = first.subscribe(queue, prefetch=10)
    its = second.subscribe(queue, prefetch=10)
    scenario.publish(b"1", b"2", to=queue)
    held = scenario.receive(mine, 2)
    assert second.receive(its, limit=1, timeout=0.15) == [], "it is not active"

    for _ in range(3):
        first.give_way(mine)
        scenario.publish(b"3", to=queue)
        (third,) = scenario.receive(its, 1, broker=second)
        assert not third.redelivered
        second.acknowledge([third])
        second.give_way(its)
        scenario.publish(b"4", to=queue)
        first.acknowledge(scenario.receive(mine, 1))
    first.acknowledge(held)
    first.close()
    assert second.receive(its, limit=1, timeout=0.15) == [], "nothing comes back: all was acknowledged"


def test_the_next_one_is_active_when_a_consumer_dies(brokers: tuple[MessageBroker, MessageBroker]) -> None:
    first, second = brokers
    queue = partition(first)
    scenario = Scenario(first)
    mine = first.subscribe(queue, prefetch=2)
    its = second.subscribe(queue, prefetch=10)
    scenario.publish(b"1", b"2", b"3", to=queue)
    assert len(scenario.receive(mine, 2)) == 2
    first.close()
    received: list[ReceivedMessage] = []

    def came() -> bool:
        received.extend(second.receive(its, limit=10, timeout=0.1))
        return len(received) >= 3

    wait_until(came, WAIT, "the next one to be active")
    assert [message.body for message in received] == [b"1", b"2", b"3"]
