"""What can happen to the embedded broker's file and to the processes that share it."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from messaging.brokers import EmbeddedBroker, MessageBroker, Topology
from messaging.core.errors import BrokerUnavailable
from messaging.testing.servers.waiting import wait_until
from tests.contract.brokers.scenario import PATIENCE, Scenario


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder to make" / "transport.sqlite3"


@pytest.fixture
def broker_url(file: Path) -> str:
    return f"embedded://{file}"


def _delete(file: Path) -> None:
    file.unlink()


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _overwrite(file: Path) -> None:
    file.write_bytes(b"no database" * 10_000)


def _damage(file: Path) -> None:
    with file.open("r+b") as content:
        content.seek(100)
        content.write(os.urandom(20_000))


def _checkpoint(file: Path) -> None:
    """Move everything from the write-ahead log into the file, so that the harm is done to all of it."""
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


@pytest.mark.parametrize("harm", [_delete, _empty, _overwrite, _damage])
def test_a_file_that_is_gone_or_damaged_is_made_anew_with_its_queues(
    scenario: Scenario, file: Path, harm: Callable[[Path], None], connect: Callable[[], MessageBroker]
) -> None:
    scenario.broker.create_topic(f"{scenario.exchange}.topic")
    scenario.broker.bind(scenario.leased, f"{scenario.exchange}.topic", "a.*")
    scenario.publish(b"lost, and published again by the log")
    subscription = scenario.broker.subscribe(scenario.quick, prefetch=2)
    held = scenario.receive(subscription, 1)
    other = Scenario(connect())
    other.broker.initialize()
    other.broker.close()
    _checkpoint(file)
    harm(file)

    def works() -> bool:
        return scenario.broker.publish(scenario.message(b"new")) == "confirmed"

    wait_until(works, PATIENCE, "the file to be made anew", ignoring=(BrokerUnavailable,))
    assert scenario.receive(subscription, 1)[0].body == b"new"
    scenario.broker.acknowledge(held)  # of the file that is gone, and must not hit another message
    scenario.broker.unsubscribe(subscription)
    assert scenario.bodies(scenario.quick) == [b"new"]
    topic_message = scenario.message(to="a.b", exchange=f"{scenario.exchange}.topic")
    assert scenario.broker.publish(topic_message) == "confirmed"
    assert other.broker.publish(other.message(to=other.leased)) == "confirmed"
    assert len(scenario.bodies(scenario.leased)) == 2


def test_a_file_deleted_while_it_is_in_use(scenario: Scenario, file: Path) -> None:
    scenario.publish(b"lost")
    file.unlink()
    scenario.publish(b"new")
    assert scenario.bodies(scenario.quick) == [b"new"]


def test_what_a_killed_process_held_is_handed_out_again(
    scenario: Scenario, connect: Callable[[], MessageBroker]
) -> None:
    scenario.publish(b"x")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            broker = connect()
            scenario.receive(broker.subscribe(scenario.quick, prefetch=1), 1, broker=broker)
            os.write(writing, b".")
            signal.pause()
        finally:
            os._exit(1)
    assert os.read(reading, 1) == b"."
    subscription = scenario.broker.subscribe(scenario.quick, prefetch=1)
    assert scenario.is_silent(subscription)
    os.kill(child, signal.SIGKILL)
    (again,) = scenario.receive(subscription, 1)  # a zombie until it is waited for, and dead already
    os.waitpid(child, 0)
    assert (again.body, again.redelivered) == (b"x", True)


def test_what_is_held_too_long_is_handed_out_again_and_the_late_acknowledgement_is_ignored(
    file: Path, topology: Topology
) -> None:
    with EmbeddedBroker(file, topology=topology, visibility_timeout=0.1) as broker:
        broker.initialize()
        scenario = Scenario(broker)
        scenario.publish(b"x")
        (held,) = scenario.receive(broker.subscribe(scenario.quick, prefetch=1), 1)
        (again,) = scenario.receive(broker.subscribe(scenario.quick, prefetch=1), 1)
        assert (again.body, again.redelivered) == (b"x", True)
        broker.acknowledge([held])
        broker.negative_acknowledge(again, requeue=True)
        assert broker.queue_depth(scenario.quick) == 1


def test_a_folder_that_cannot_be_written_is_reported(topology: Topology) -> None:
    broker = EmbeddedBroker("/proc/nowhere/transport.sqlite3", topology=topology)
    with pytest.raises(BrokerUnavailable, match="writable"):
        broker.initialize()
    health = broker.health_check()
    assert not health.ok
    assert "writable" in health.detail
