"""Creating exchanges, queues and bindings."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from messaging.brokers import EmbeddedBroker, InMemoryBroker, MessageBroker, QueueSpec, RabbitMQBroker, create_broker
from messaging.brokers.topology import NEXUS_TOPOLOGY, ExchangeSpec, nexus_topology
from messaging.core.errors import ConfigurationError, TopologyMismatch
from tests.contract.brokers.scenario import Scenario


def test_initialize_may_be_called_again_and_by_others(scenario: Scenario, connect: Callable[[], MessageBroker]) -> None:
    scenario.publish(b"x")
    scenario.broker.initialize()
    connect().initialize()
    assert scenario.bodies(scenario.quick) == [b"x"]


def test_a_queue_with_other_arguments_is_a_mismatch_that_says_the_fix(scenario: Scenario) -> None:
    with pytest.raises(TopologyMismatch, match=r"(?s)nexus.transactional.*delete") as failure:
        scenario.broker.create_queue(QueueSpec(name=scenario.quick, max_length=7))
    assert scenario.quick in str(failure.value)
    scenario.publish(b"still works")


def test_a_topic_with_the_name_of_another_exchange_is_a_mismatch(scenario: Scenario) -> None:
    with pytest.raises(TopologyMismatch, match=r"(?s)exchange.*delete"):
        scenario.broker.create_topic(scenario.exchange)


def test_what_does_not_exist_is_a_mismatch_that_says_so(scenario: Scenario) -> None:
    missing = f"{scenario.quick}.missing"
    for attempt in (
        lambda: scenario.broker.subscribe(missing, prefetch=1),
        lambda: scenario.broker.queue_depth(missing),
        lambda: scenario.broker.bind(missing, scenario.exchange, "x"),
        lambda: scenario.broker.bind(scenario.quick, missing, "x"),
    ):
        with pytest.raises(TopologyMismatch, match=missing):
            attempt()
    subscription = scenario.broker.subscribe(scenario.quick, prefetch=1)
    scenario.publish(b"still works")
    assert scenario.receive(subscription, 1)[0].body == b"still works"


def test_installations_with_other_prefixes_do_not_meet(broker_url: str, scenario: Scenario) -> None:
    with create_broker(broker_url, topology=nexus_topology(f"other-{scenario.quick}.")) as other:
        other.initialize()
        theirs = Scenario(other)
        theirs.publish(b"theirs")
        scenario.publish(b"ours")
        assert scenario.bodies(scenario.quick) == [b"ours"]
        assert theirs.bodies(theirs.quick) == [b"theirs"]


def test_work_queues_lose_nothing_on_their_way_to_the_dead_letter_queue() -> None:
    for queue in NEXUS_TOPOLOGY.queues:
        arguments = queue.arguments()
        assert arguments["x-queue-type"] == "quorum"
        if queue.name != "nexus.dead":
            assert arguments["x-dead-letter-exchange"] == "nexus.dlx"
            assert arguments["x-dead-letter-strategy"] == "at-least-once"
            assert arguments["x-overflow"] == "reject-publish"
            assert arguments["x-delivery-limit"] == 1000
    assert list(NEXUS_TOPOLOGY.exchanges) == [
        ExchangeSpec(name="nexus", type="direct"),
        ExchangeSpec(name="nexus.inbox", type="fanout"),
        ExchangeSpec(name="nexus.dlx", type="fanout"),
    ]


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("amqp://guest:guest@localhost:5672//", RabbitMQBroker),
        ("amqps://u:p%40ss@[::1]:5671/vhost;amqps://u:p@other/vhost", RabbitMQBroker),
        ("embedded:///tmp/nowhere/transport.sqlite3", EmbeddedBroker),
        ("memory://name", InMemoryBroker),
    ],
)
def test_a_url_chooses_the_broker_without_connecting(url: str, kind: type[MessageBroker]) -> None:
    assert type(create_broker(url)) is kind


@pytest.mark.parametrize(
    "url", ["", "amqp", "redis://localhost", "embedded://", "amqp://localhost:port", "http://u:secret@h"]
)
def test_a_wrong_url_is_refused_without_repeating_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="broker URL: ") as failure:
        create_broker(url)
    assert "secret" not in str(failure.value)
