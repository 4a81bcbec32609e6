"""Handing out, acknowledging, giving back, dead-lettering."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import pytest

from messaging.brokers import MessageBroker, QueueSpec
from messaging.testing.servers.waiting import wait_until
from tests.contract.brokers.scenario import PATIENCE, SILENCE, Scenario


def test_receive_waits_no_longer_than_its_timeout(scenario: Scenario) -> None:
    subscription = scenario.broker.subscribe(scenario.quick, prefetch=10)
    start = monotonic()
    assert scenario.broker.receive(subscription, limit=10, timeout=SILENCE) == []
    assert SILENCE * 0.9 <= monotonic() - start < SILENCE + PATIENCE


def test_receive_returns_with_what_is_there_instead_of_waiting_for_more(scenario: Scenario) -> None:
    subscription = scenario.broker.subscribe(scenario.quick, prefetch=10)
    scenario.publish(b"1")
    start = monotonic()
    assert [message.body for message in scenario.broker.receive(subscription, limit=10, timeout=PATIENCE)] == [b"1"]
    assert monotonic() - start < PATIENCE / 2


def test_receive_keeps_to_its_limit(scenario: Scenario) -> None:
    scenario.publish(*(b"%d" % number for number in range(10)))
    subscription = scenario.broker.subscribe(scenario.quick, prefetch=100)
    assert len(scenario.broker.receive(subscription, limit=3, timeout=PATIENCE)) <= 3


def test_order_is_kept_from_batch_to_batch(scenario: Scenario) -> None:
    messages = scenario.burst(40)
    scenario.broker.publish_many(messages, timeout=PATIENCE)
    subscription = scenario.broker.subscribe(scenario.quick, prefetch=7)
    bodies = []
    for count in (3, 7, 1, 7, 7, 7, 7, 1):
        batch = scenario.receive(subscription, count)
        scenario.broker.acknowledge(batch)
        bodies += [message.body for message in batch]
    assert bodies == [message.body for message in messages]


def test_acknowledged_messages_are_gone_and_the_others_come_again(scenario: Scenario) -> None:
    scenario.publish(*(b"%d" % number for number in range(10)))
    subscription = scenario.broker.subscribe(scenario.quick, prefetch=100)
    messages = scenario.receive(subscription, 10)
    handled = [messages[index] for index in (0, 1, 2, 5, 9)]  # contiguous ones, and holes
    scenario.broker.acknowledge(handled)
    scenario.broker.unsubscribe(subscription)
    again = scenario.receive(scenario.broker.subscribe(scenario.quick, prefetch=100), 5)
    assert [message.body for message in again] == [b"3", b"4", b"6", b"7", b"8"]
    assert all(message.redelivered for message in again)


def test_acknowledging_in_any_order_and_twice_does_no_harm(scenario: Scenario) -> None:
    scenario.publish(*(b"%d" % number for number in range(6)))
    subscription = scenario.broker.subscribe(scenario.quick, prefetch=100)
    messages = scenario.receive(subscription, 6)
    scenario.broker.acknowledge([messages[4], messages[2]])
    scenario.broker.acknowledge([messages[2], messages[5]])
    scenario.broker.acknowledge(messages)
    scenario.broker.acknowledge([])
    scenario.publish(b"after")
    assert [message.body for message in scenario.receive(subscription, 1)] == [b"after"]
    scenario.broker.unsubscribe(subscription)
    assert scenario.bodies(scenario.quick) == [b"after"]


def test_requeue_hands_it_out_again_marked_redelivered(scenario: Scenario) -> None:
    scenario.publish(b"x")
    subscription = scenario.broker.subscribe(scenario.quick, prefetch=1)
    (message,) = scenario.receive(subscription, 1)
    assert not message.redelivered
    scenario.broker.negative_acknowledge(message, requeue=True)
    (again,) = scenario.receive(subscription, 1)
    assert (again.body, again.redelivered) == (b"x", True)


def test_a_rejected_message_goes_to_the_dead_letter_queue_with_the_reason(scenario: Scenario) -> None:
    outgoing = scenario.message(b"poison", headers={"task": "messaging.deliver"})
    scenario.broker.publish(outgoing)
    subscription = scenario.broker.subscribe(scenario.quick, prefetch=1)
    scenario.broker.negative_acknowledge(scenario.receive(subscription, 1)[0], requeue=False)
    (dead,) = scenario.receive(scenario.broker.subscribe(scenario.dead, prefetch=1), 1)
    assert dead.body == b"poison"
    assert dead.headers["task"] == "messaging.deliver"
    assert dead.headers["x-first-death-reason"] == "rejected"
    assert dead.headers["x-first-death-queue"] == scenario.quick
    assert (dead.headers["x-death"][0]["reason"], dead.headers["x-death"][0]["queue"]) == ("rejected", scenario.quick)
    assert scenario.is_silent(subscription)


def test_a_message_given_back_more_often_than_the_delivery_limit_is_dead_lettered(scenario: Scenario) -> None:
    queue = f"{scenario.quick}.limited"
    scenario.broker.create_queue(
        QueueSpec(name=queue, dead_letter_exchange=scenario.broker.topology.name("nexus.dlx"), delivery_limit=2)
    )
    scenario.broker.publish(scenario.message(b"x", to=queue, exchange=""))
    subscription = scenario.broker.subscribe(queue, prefetch=1)
    for _ in range(3):  # the first delivery and two more
        scenario.broker.negative_acknowledge(scenario.receive(subscription, 1)[0], requeue=True)
    assert scenario.is_silent(subscription)
    (dead,) = scenario.receive(scenario.broker.subscribe(scenario.dead, prefetch=1), 1)
    assert dead.headers["x-first-death-reason"] == "delivery_limit"


def test_no_more_than_the_prefetch_is_handed_out_until_something_is_acknowledged(scenario: Scenario) -> None:
    scenario.publish(*(b"%d" % number for number in range(10)))
    subscription = scenario.broker.subscribe(scenario.quick, prefetch=4)
    first = scenario.receive(subscription, 4)
    assert scenario.is_silent(subscription)
    scenario.broker.acknowledge(first[:2])
    assert [message.body for message in scenario.receive(subscription, 2)] == [b"4", b"5"]
    assert scenario.is_silent(subscription)


def test_two_consumers_share_a_queue_without_getting_a_message_twice(
    scenario: Scenario, connect: Callable[[], MessageBroker]
) -> None:
    other = connect()
    mine, its = scenario.broker.subscribe(scenario.quick, prefetch=5), other.subscribe(scenario.quick, prefetch=5)
    scenario.publish(*(b"%d" % number for number in range(10)))
    received = scenario.receive(mine, 5) + scenario.receive(its, 5, broker=other)
    assert {message.body for message in received} == {b"%d" % number for number in range(10)}


def test_receiving_from_several_queues_at_once(scenario: Scenario) -> None:
    subscriptions = [scenario.broker.subscribe(queue, prefetch=10) for queue in (scenario.quick, scenario.leased)]
    scenario.publish(b"quick")
    scenario.publish(b"leased", to=scenario.leased)
    received: dict[str, bytes] = {}

    def both() -> bool:
        for message in scenario.broker.receive(*subscriptions, limit=10, timeout=0.1):
            received[message.queue] = message.body
        return len(received) == 2

    wait_until(both, PATIENCE, "a message of each queue")
    assert received == {scenario.quick: b"quick", scenario.leased: b"leased"}


def test_a_full_queue_does_not_starve_another(scenario: Scenario) -> None:
    scenario.publish(*[b"much"] * 200)
    scenario.publish(b"little", to=scenario.leased)
    subscriptions = [scenario.broker.subscribe(queue, prefetch=10) for queue in (scenario.quick, scenario.leased)]
    queues: list[str] = []

    def both() -> bool:
        messages = scenario.broker.receive(*subscriptions, limit=2, timeout=0.1)
        scenario.broker.acknowledge(messages)
        queues.extend(message.queue for message in messages)
        return set(queues) == {scenario.quick, scenario.leased}

    wait_until(both, PATIENCE, "a message of each queue")
    assert len(queues) < 200


def test_after_unsubscribe_the_queue_keeps_its_messages(scenario: Scenario) -> None:
    subscription = scenario.broker.subscribe(scenario.quick, prefetch=10)
    scenario.broker.unsubscribe(subscription)
    scenario.publish(b"x")
    wait_until(lambda: scenario.broker.queue_depth(scenario.quick) == 1, PATIENCE, "one message to be ready")


def test_queue_depth_counts_what_waits_and_not_what_is_handed_out(scenario: Scenario) -> None:
    scenario.publish(b"1", b"2", b"3")
    wait_until(lambda: scenario.broker.queue_depth(scenario.quick) == 3, PATIENCE, "three to be ready")
    scenario.receive(scenario.broker.subscribe(scenario.quick, prefetch=2), 2)
    wait_until(lambda: scenario.broker.queue_depth(scenario.quick) == 1, PATIENCE, "one to be ready")


@pytest.mark.parametrize("requeue", [True, False])
def test_a_message_of_a_closed_connection_cannot_be_settled_and_comes_again(scenario: Scenario, requeue: bool) -> None:
    scenario.publish(b"x")
    subscription = scenario.broker.subscribe(scenario.quick, prefetch=1)
    (message,) = scenario.receive(subscription, 1)
    scenario.broker.unsubscribe(subscription)
    scenario.broker.negative_acknowledge(message, requeue=requeue)
    scenario.broker.acknowledge([message])
    (again,) = scenario.receive(scenario.broker.subscribe(scenario.quick, prefetch=1), 1)
    assert (again.body, again.redelivered) == (b"x", True)
