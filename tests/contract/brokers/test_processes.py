"""Threads, forks and health."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from messaging.brokers import MessageBroker
from messaging.testing.servers.waiting import wait_until
from tests.contract.brokers.scenario import PATIENCE, Scenario


def _in_child(work: Callable[[], bool]) -> bool:
    """Run something in a forked child and return what it returned."""
    child = os.fork()
    if child == 0:
        succeeded = False
        try:
            succeeded = work()
        finally:
            os._exit(0 if succeeded else 1)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0


def test_threads_share_a_broker_object(scenario: Scenario) -> None:
    def work(number: int) -> int:
        subscription = scenario.broker.subscribe(scenario.quick, prefetch=50)
        known = scenario.broker.publish_many(scenario.burst(50), timeout=PATIENCE)
        received = []
        while messages := scenario.broker.receive(subscription, limit=50, timeout=0.3):
            scenario.broker.acknowledge(messages)
            received += messages
        scenario.broker.close()
        return list(known.values()).count("confirmed") * 1000 + len(received)  # type: ignore[arg-type]

    with ThreadPoolExecutor(4) as pool:
        totals = list(pool.map(work, range(4)))
    assert all(total // 1000 == 50 for total in totals)
    assert sum(total % 1000 for total in totals) == 200


def test_a_forked_child_uses_connections_of_its_own(scenario: Scenario) -> None:
    subscription = scenario.broker.subscribe(scenario.quick, prefetch=10)
    scenario.publish(b"before")

    def child() -> bool:
        return scenario.broker.publish(scenario.message(b"child")) == "confirmed" and bool(
            scenario.bodies(scenario.dead) == []
        )

    assert _in_child(child)
    scenario.publish(b"after")
    expected = 2 if "memory" in scenario.broker.health_check().detail else 3
    assert {b"before", b"after"} <= {message.body for message in scenario.receive(subscription, expected)}


def test_a_child_leaves_alone_what_its_parent_holds(scenario: Scenario) -> None:
    subscription = scenario.broker.subscribe(scenario.quick, prefetch=1)
    scenario.publish(b"x")
    (message,) = scenario.receive(subscription, 1)

    def child() -> bool:
        scenario.broker.acknowledge([message])
        scenario.broker.negative_acknowledge(message, requeue=True)
        scenario.broker.close()
        return True

    assert _in_child(child)
    assert scenario.broker.queue_depth(scenario.quick) == 0
    scenario.broker.negative_acknowledge(message, requeue=True)
    assert scenario.receive(subscription, 1)[0].redelivered


def test_health_of_a_broker_that_works(broker: MessageBroker) -> None:
    health = broker.health_check()
    assert health.ok, health
    assert 0 < health.latency < PATIENCE


def test_closing_twice_and_working_on_afterwards(scenario: Scenario) -> None:
    scenario.publish(b"x")
    scenario.broker.close()
    scenario.broker.close()
    scenario.publish(b"y")
    assert scenario.bodies(scenario.quick) == [b"x", b"y"]


def test_messages_held_when_the_broker_is_closed_come_again(
    scenario: Scenario, connect: Callable[[], MessageBroker]
) -> None:
    holder = connect()
    scenario.publish(b"x")
    scenario.receive(holder.subscribe(scenario.quick, prefetch=1), 1, broker=holder)
    holder.close()
    wait_until(lambda: scenario.broker.queue_depth(scenario.quick) == 1, PATIENCE, "the message to return")
    assert scenario.receive(scenario.broker.subscribe(scenario.quick, prefetch=1), 1)[0].redelivered
