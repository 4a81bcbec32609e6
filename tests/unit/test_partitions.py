"""Partitions: the stable hash, fair shares, names and arguments of queues, and where they are refused."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from uuid import UUID, uuid4, uuid5

import pytest
from pytest_django.fixtures import Settings

from messaging.brokers import NEXUS_TOPOLOGY, nexus_topology
from messaging.checks.settings import check_partitions
from messaging.conf import load
from messaging.core.errors import ConfigurationError
from messaging.core.partitions import MAX_PARTITIONS, owner_of, partition_of
from messaging.log import StoredDelivery
from messaging.transport import wire

ONE = UUID("0199f7a0-0000-7000-8000-000000000001")


@pytest.mark.parametrize(
    ("workflow", "of_4", "of_7", "of_64"),
    [
        (UUID(int=0), 1, 1, 21),
        (ONE, 2, 1, 14),
        (UUID("0199f7a0-0000-7000-8000-000000000002"), 0, 1, 52),
        (UUID(int=2**128 - 1), 2, 0, 26),
    ],
)
def test_the_hash_of_a_workflow_never_changes(workflow: UUID, of_4: int, of_7: int, of_64: int) -> None:
    """Processes of all versions must agree: these values are part of the interface."""
    assert (partition_of(workflow, 4), partition_of(workflow, 7), partition_of(workflow, 64)) == (of_4, of_7, of_64)
    assert partition_of(workflow, 1) == 0


def test_workflows_are_spread_evenly() -> None:
    counts = Counter(partition_of(uuid5(ONE, str(number)), 8) for number in range(8_000))
    assert len(counts) == 8
    assert max(counts.values()) < 1_150


def test_consumers_share_partitions_evenly_whatever_the_order() -> None:
    consumers = [uuid4() for _ in range(3)]
    shares = Counter(owner_of(number, consumers) for number in range(8))
    assert sorted(shares.values()) == [2, 3, 3]
    assert all(owner_of(number, consumers) == owner_of(number, consumers[::-1]) for number in range(8))


def test_one_partition_is_the_queue_as_it_always_was() -> None:
    assert nexus_topology() == NEXUS_TOPOLOGY
    assert not any("x-single-active-consumer" in queue.arguments() for queue in NEXUS_TOPOLOGY.queues)
    assert wire.marked_queues() == {"transactional": "nexus.transactional", "leased": "nexus.leased"}


def test_partitions_are_quorum_queues_with_a_single_active_consumer() -> None:
    topology = nexus_topology("p.", 3)
    queues = {queue.name: queue for queue in topology.queues}
    plain = queues["p.nexus.transactional"].arguments()
    for number in range(3):
        name = f"p.nexus.transactional.{number}"
        assert queues[name].arguments() == {**plain, "x-single-active-consumer": True}
        assert any(binding.queue == binding.pattern == name for binding in topology.bindings)
    assert "p.nexus.transactional.3" not in queues


def stored(queue: str) -> StoredDelivery:
    return StoredDelivery(id=uuid4(), workflow_id=ONE, body=b"{}", signature="", queue=queue, redeliveries=0)


def test_where_deliveries_and_markers_go(settings: Settings) -> None:
    settings.NEXUS = {**settings.NEXUS, "QUEUE_PARTITIONS": 64, "QUEUE_PREFIX": "p."}
    assert wire.delivery_message(stored("transactional")).routing_key == "p.nexus.transactional.14"
    assert wire.delivery_message(stored("leased")).routing_key == "p.nexus.leased"
    now = datetime.now(UTC)
    assert wire.marker_message("transactional.14", now).routing_key == "p.nexus.transactional.14"
    assert wire.marker_message("transactional", now).routing_key == "p.nexus.transactional"
    assert len(wire.marked_queues()) == 66


@pytest.mark.parametrize("value", [0, -1, MAX_PARTITIONS + 1, "many"])
def test_numbers_of_partitions_that_are_refused(value: object) -> None:
    with pytest.raises(ConfigurationError, match="QUEUE_PARTITIONS"):
        load({"QUEUE_PARTITIONS": value})


@pytest.mark.parametrize(
    ("url", "partitions", "found"),
    [("memory://x", 2, ["nexus.E027"]), ("memory://x", 1, []), ("amqp://guest@localhost/", 2, [])],
)
def test_a_broker_without_single_active_consumers_is_refused(
    settings: Settings, url: str, partitions: int, found: list[str]
) -> None:
    settings.NEXUS = {**settings.NEXUS, "BROKER_URL": url, "QUEUE_PARTITIONS": partitions}
    assert [problem.id for problem in check_partitions()] == found
