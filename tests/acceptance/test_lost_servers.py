"""Servers fail in mid-run: RabbitMQ loses its disk, PostgreSQL restarts, relays die. Everything is handled once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from messaging.testing.servers.nodes import PostgresNode, RabbitMQNode
from messaging.testing.servers.waiting import wait_until
from tests.acceptance.conftest import Install
from tests.support.installation import Installation
from tests.support.services import require

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

QUICK_REPAIR: dict[str, float] = {"redelivery_after": 3, "publish_grace": 1, "relay_interval": 0.1}


@pytest.fixture(scope="module")
def own_rabbitmq() -> Iterator[RabbitMQNode]:
    """A RabbitMQ that may lose its disk."""
    require(RabbitMQNode)
    with RabbitMQNode() as node:
        yield node


def race_in_background(installation: Installation, workflows: int, legs: int) -> None:
    installation.program("race", str(workflows), str(legs))


def wait_midway(installation: Installation, count: int) -> None:
    wait_until(
        lambda: installation.states()["processed"] >= count,
        90,
        lambda: f"{count} processed deliveries: {installation.states()} {installation.logs()}",
        interval=0.02,
    )


def test_rabbitmq_loses_its_disk_in_mid_run(install: Install, own_rabbitmq: RabbitMQNode) -> None:
    own_rabbitmq.start()
    installation = install(own_rabbitmq.url, **QUICK_REPAIR)
    installation.relay()
    installation.worker()
    race_in_background(installation, 100, 30)
    wait_midway(installation, 300)
    own_rabbitmq.kill()
    own_rabbitmq.wipe_data()
    assert installation.states()["processed"] < 3_000, "it was in mid-run"
    own_rabbitmq.start()
    seconds = installation.wait_processed(3_000, 120)
    installation.assert_handled_once_in_order(3_000)
    print(f"everything handled {seconds:.1f} s after RabbitMQ came back empty")


@pytest.mark.whole
def test_a_backlog_is_lost_with_the_disk_before_any_worker_runs(install: Install, own_rabbitmq: RabbitMQNode) -> None:
    own_rabbitmq.start()
    installation = install(own_rabbitmq.url, **QUICK_REPAIR)
    installation.program("sink", "500")
    installation.relay()
    wait_until(lambda: installation.states()["sent"] == 500, 60, lambda: f"500 sent: {installation.states()}")
    own_rabbitmq.kill()
    own_rabbitmq.wipe_data()
    own_rabbitmq.start()
    installation.worker()
    installation.wait_processed(500, 120)
    installation.assert_handled_once_in_order(500)


@pytest.mark.whole
def test_a_request_does_not_wait_for_a_broker_that_is_down(install: Install, own_rabbitmq: RabbitMQNode) -> None:
    own_rabbitmq.start()
    installation = install(own_rabbitmq.url, **QUICK_REPAIR)
    installation.program("sink", "1")  # the queues are declared and everything is warm
    own_rabbitmq.kill()
    seconds = sorted(json.loads(installation.program("latency", "200")))
    installation.relay()
    installation.worker()
    own_rabbitmq.start()
    installation.wait_processed(201, 120)
    installation.assert_handled_once_in_order(201)
    print(f"99th percentile {seconds[197] * 1000:.1f} ms, longest {seconds[-1] * 1000:.1f} ms")
    # Half of them may have waited for the processor; a wait for the broker would be in all.
    assert seconds[100] < 0.3


def test_postgresql_is_killed_in_mid_run(install: Install, postgres: PostgresNode, rabbitmq_url: str) -> None:
    installation = install(rabbitmq_url, **QUICK_REPAIR)
    installation.relay()
    installation.worker()
    race_in_background(installation, 100, 30)
    wait_midway(installation, 300)
    postgres.kill()
    postgres.start()
    seconds = installation.wait_processed(3_000, 120)
    installation.assert_handled_once_in_order(3_000)
    print(f"everything handled {seconds:.1f} s after the restart")


def test_relays_are_killed_and_others_take_over(install: Install, rabbitmq_url: str) -> None:
    """Nobody but the relay publishes here, so every message passes through one of the two."""
    installation = install(
        rabbitmq_url,
        environment={"FAULT_ONLY_RELAY_PUBLISHES": "1"},
        redelivery_after=3,
        publish_grace=0.2,
        local_delivery="off",
    )
    relays = [installation.relay(NEXUS_RELAY_INTERVAL="0.1") for _ in range(2)]
    installation.worker()
    race_in_background(installation, 40, 12)
    for count in (100, 250):
        wait_midway(installation, count)
        leader = installation.query("SELECT holder FROM nexus_relay_lease")[0][0]
        for relay in relays:
            if relay.running and str(relay.pid) in leader:
                relay.kill()
    seconds = installation.wait_processed(480, 120)
    installation.assert_handled_once_in_order(480)
    assert sum(relay.starts for relay in relays) >= 4
    print(f"everything handled {seconds:.1f} s after the last relay was killed")


@pytest.mark.whole
@pytest.mark.timeout(400)
def test_a_worker_that_is_asked_to_stop_loses_nothing_and_ends_in_time(install: Install, rabbitmq_url: str) -> None:
    """Under load, and again when it has nothing to do."""
    drain_timeout = 60.0
    installation = install(rabbitmq_url, drain_timeout=drain_timeout, **QUICK_REPAIR)
    installation.relay()
    worker = installation.worker(keep=False)
    position = 0
    worker.wait_for_log("ready", 60)
    race_in_background(installation, 100, 20)
    for count in (200, 2_000):
        wait_midway(installation, count)
        worker.wait_for_log("ready", 60, since=position)
        began = time.monotonic()
        assert worker.terminate(drain_timeout + 20) == 0
        seconds = time.monotonic() - began
        print(f"with {count} messages handled it ended {seconds:.1f} s after SIGTERM")
        assert seconds < drain_timeout
        position = worker.log_position
        worker.start()
    installation.assert_handled_once_in_order(2_000)
