"""What RabbitMQ alone can do to us: die, come back, be out of memory, not be there."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest

from messaging.brokers import Confirmation, OutgoingMessage, RabbitMQBroker, ReceivedMessage, Topology
from messaging.core.errors import BrokerBlocked, BrokerError, BrokerUnavailable
from messaging.testing.servers.nodes import RabbitMQNode
from messaging.testing.servers.nodes.ports import free_port
from messaging.testing.servers.waiting import wait_until
from tests.contract.brokers.scenario import PATIENCE, Scenario

RECOVERY = 30.0
"""Seconds that a restarted broker may take to serve its queues again."""


@pytest.fixture
def broker_url(rabbitmq: RabbitMQNode) -> str:
    return rabbitmq.url


@pytest.fixture
def alarm(rabbitmq: RabbitMQNode) -> Iterator[Callable[[float], None]]:
    """Change the memory watermark; 0 blocks publishers."""
    yield rabbitmq.set_memory_watermark
    rabbitmq.set_memory_watermark(0.4)


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _publish_until_all_confirmed(scenario: Scenario, messages: list[OutgoingMessage]) -> None:
    """Publish again what is not confirmed, as the relay does."""
    missing = list(messages)

    def all_confirmed() -> bool:
        known = scenario.broker.publish_many(missing, timeout=PATIENCE)
        missing[:] = [message for message in missing if known[message.id] is not Confirmation.CONFIRMED]
        return not missing

    wait_until(all_confirmed, RECOVERY, lambda: f"{len(missing)} messages to be confirmed", ignoring=(BrokerError,))


def _receive_until(scenario: Scenario, wanted: set[bytes]) -> None:
    subscription = scenario.broker.subscribe(scenario.quick, prefetch=500)
    missing = set(wanted)

    def all_received() -> bool:
        messages = scenario.broker.receive(subscription, limit=500, timeout=1)
        scenario.broker.acknowledge(messages)
        missing.difference_update(message.body for message in messages)
        return not missing

    wait_until(all_received, RECOVERY, lambda: f"{len(missing)} messages to arrive", ignoring=(BrokerError,))


def test_killed_in_mid_burst_it_loses_nothing_that_it_confirmed(scenario: Scenario, rabbitmq: RabbitMQNode) -> None:
    messages = scenario.burst(5000)
    scenario.broker.publish_begin(messages)
    known = scenario.broker.publish_collect(PATIENCE)
    rabbitmq.kill()
    start = monotonic()
    while scenario.broker.outstanding:
        known.update(scenario.broker.publish_collect(PATIENCE))
    assert monotonic() - start < PATIENCE
    assert set(known) == {message.id for message in messages}
    assert set(known.values()) <= {Confirmation.CONFIRMED, Confirmation.UNKNOWN}
    assert not scenario.broker.health_check().ok
    with pytest.raises(BrokerUnavailable):
        scenario.broker.publish(messages[0])

    rabbitmq.start()
    confirmed = {message.body for message in messages if known[message.id] is Confirmation.CONFIRMED}
    assert confirmed
    _receive_until(scenario, confirmed)
    _publish_until_all_confirmed(scenario, scenario.burst(100))
    wait_until(lambda: scenario.broker.health_check().ok, RECOVERY, "the health check to pass")


def test_a_subscription_goes_on_after_a_restart(scenario: Scenario, rabbitmq: RabbitMQNode) -> None:
    scenario.publish(b"1", b"2")
    subscription = scenario.broker.subscribe(scenario.quick, prefetch=10)
    held = scenario.receive(subscription, 2)
    rabbitmq.kill()
    with pytest.raises(BrokerUnavailable):
        scenario.broker.receive(subscription, limit=1, timeout=0.5)
    scenario.broker.acknowledge(held)  # of a connection that is gone: nothing happens
    rabbitmq.start()
    again: list[ReceivedMessage] = []

    def both() -> bool:
        again.extend(scenario.broker.receive(subscription, limit=10, timeout=1))
        return len(again) >= 2

    wait_until(both, RECOVERY, "both messages to come again", ignoring=(BrokerError,))
    assert {message.body for message in again} == {b"1", b"2"}
    scenario.broker.acknowledge(held)  # these tags are in use again, on the new connection
    scenario.broker.close()
    assert sorted(scenario.bodies(scenario.quick)) == [b"1", b"2"]


def test_connections_closed_by_the_operator_are_opened_again_unnoticed(
    scenario: Scenario, rabbitmq: RabbitMQNode
) -> None:
    subscription = scenario.broker.subscribe(scenario.quick, prefetch=10)
    scenario.publish(b"before")
    (before,) = scenario.receive(subscription, 1)
    rabbitmq.close_all_connections()
    scenario.publish(b"after")
    received: dict[bytes, bool] = {}

    def both() -> bool:
        for message in scenario.broker.receive(subscription, limit=10, timeout=0.2):
            received[message.body] = message.redelivered
        return len(received) == 2

    wait_until(both, PATIENCE, "the old message again and the new one")
    assert received == {b"before": True, b"after": False}
    scenario.broker.acknowledge([before])  # its tag is another message's on the new connection
    scenario.broker.close()
    assert sorted(scenario.bodies(scenario.quick)) == [b"after", b"before"]


def test_an_alarm_keeps_every_deadline_and_passes(scenario: Scenario, alarm: Callable[[float], None]) -> None:
    subscription = scenario.broker.subscribe(scenario.quick, prefetch=10)
    scenario.publish(b"before")
    alarm(0)
    for size in (10, 20_000_000):  # the second does not fit into the socket's buffers
        start = monotonic()
        try:
            assert scenario.broker.publish(scenario.message(b"x" * size), timeout=1) is Confirmation.UNKNOWN
        except BrokerBlocked:
            assert size > 10, "the first message cannot know of the alarm"
        assert monotonic() - start < 1 + PATIENCE
    start = monotonic()
    with pytest.raises(BrokerBlocked, match="memory"):
        scenario.broker.publish(scenario.message(), timeout=2 * PATIENCE)
    assert monotonic() - start < PATIENCE, "once it is known, callers do not wait"
    health = scenario.broker.health_check()
    assert not health.ok
    assert "memory" in health.detail
    assert scenario.receive(subscription, 1)[0].body == b"before", "receiving goes on"

    alarm(0.4)
    wait_until(
        lambda: scenario.broker.publish(scenario.message(b"after")) is Confirmation.CONFIRMED,
        PATIENCE,
        "publishing to work again",
        ignoring=(BrokerBlocked,),
    )
    assert scenario.broker.health_check().ok


def test_a_burst_larger_than_the_buffers_keeps_its_deadline_during_an_alarm(
    scenario: Scenario, alarm: Callable[[float], None]
) -> None:
    scenario.publish(b"opens the connection")
    alarm(0)
    message = scenario.message(b"x" * 20_000_000)
    start = monotonic()
    scenario.broker.publish_begin([message])
    assert scenario.broker.publish_collect(1) == {}
    assert monotonic() - start < 1 + PATIENCE
    assert scenario.broker.outstanding == 1
    alarm(0.4)
    assert scenario.broker.publish_collect(RECOVERY) == {message.id: Confirmation.CONFIRMED}


def test_a_suspended_broker_keeps_no_caller_past_its_deadline(scenario: Scenario, rabbitmq: RabbitMQNode) -> None:
    subscription = scenario.broker.subscribe(scenario.quick, prefetch=10)
    scenario.publish(b"opens the connection")
    scenario.receive(subscription, 1)
    rabbitmq.suspend()
    try:
        start = monotonic()
        assert scenario.broker.publish(scenario.message(), timeout=0.5) is Confirmation.UNKNOWN
        assert scenario.broker.receive(subscription, limit=1, timeout=0.5) == []
        assert monotonic() - start < 1 + PATIENCE
    finally:
        rabbitmq.resume()
    _publish_until_all_confirmed(scenario, scenario.burst(1))


def test_a_broker_that_is_not_there_costs_next_to_nothing(topology: Topology) -> None:
    broker = RabbitMQBroker(f"amqp://localhost:{free_port()}", topology=topology)
    scenario = Scenario(broker)
    durations = []
    for _ in range(20):
        start = monotonic()
        with pytest.raises(BrokerUnavailable, match="localhost"):
            broker.publish(scenario.message())
        durations.append(monotonic() - start)
    # The quickest ones: any other may have waited for the processor, and a wait of ours would be in all.
    assert sorted(durations)[4] < 0.02, "a refused connection costs milliseconds"
    health = broker.health_check()
    assert not health.ok
    assert health.detail


def test_a_broker_that_does_not_answer_costs_its_timeout_once_in_a_while(topology: Topology) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        broker = RabbitMQBroker(f"amqp://127.0.0.1:{silent.getsockname()[1]}", topology=topology, connect_timeout=0.2)
        scenario = Scenario(broker)
        for _ in range(20):
            with pytest.raises(BrokerUnavailable):
                broker.publish(scenario.message())
        silent.setblocking(False)
        tries = 0
        with suppress(BlockingIOError):
            while True:
                silent.accept()[0].close()
                tries += 1
        assert 1 <= tries <= 10, "most calls do not even try"


def test_a_cluster_is_reached_through_any_of_its_nodes(rabbitmq: RabbitMQNode, topology: Topology) -> None:
    with RabbitMQBroker(f"amqp://localhost:{free_port()};{rabbitmq.url}", topology=topology) as broker:
        broker.initialize()
        assert broker.health_check().ok
        assert str(rabbitmq.port) in broker.health_check().detail


def test_a_wrong_password_says_so_and_not_the_password(rabbitmq: RabbitMQNode, topology: Topology) -> None:
    broker = RabbitMQBroker(f"amqp://guest:wr0ng@127.0.0.1:{rabbitmq.port}", topology=topology)
    with pytest.raises(BrokerUnavailable, match=r"(?i)refused|access") as failure:
        broker.initialize()
    assert "wr0ng" not in str(failure.value)


def test_a_thread_opens_two_connections_and_closes_them(scenario: Scenario, rabbitmq: RabbitMQNode) -> None:
    before = _open_files()
    scenario.publish(b"x")
    scenario.broker.receive(scenario.broker.subscribe(scenario.quick, prefetch=1), limit=1, timeout=PATIENCE)
    assert _open_files() == before + 2
    scenario.broker.close()
    assert _open_files() == before
