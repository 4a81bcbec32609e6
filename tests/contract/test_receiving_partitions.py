"""Partitioned queues on RabbitMQ: shares of two consumers, a death, and other numbers of partitions under way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from uuid import UUID

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from messaging.api import MessageBroker, Outgoing
from messaging.brokers import create_broker, nexus_topology
from messaging.checks.broker import check_left_partitions
from messaging.core.outcome import Outcome
from messaging.core.partitions import partition_of
from messaging.models import QueueMarker
from messaging.receiving import partitions
from messaging.recovery import due
from messaging.recovery.relay import Relay
from messaging.testing.servers.waiting import wait_until
from messaging.transport.current import get_broker
from tests.support.lab import Lab
from tests.support.stepping import SteppedConsumer

WAIT = 60.0
FOUR = 4


@pytest.fixture
def lab(
    committed_database: None, settings: Settings, monkeypatch: pytest.MonkeyPatch, rabbitmq_url: str
) -> Iterator[Lab]:
    """The system in one thread, on RabbitMQ, with four partitions."""
    monkeypatch.setattr(partitions, "LOOK_EVERY", 0.0)
    laboratory = Lab(settings, monkeypatch, broker_url=rabbitmq_url, queue_partitions=FOUR, bundle_size=2)
    laboratory.agent("a")
    yield laboratory
    laboratory.close()


@pytest.fixture
def other(lab: Lab, rabbitmq_url: str) -> Iterator[MessageBroker]:
    """The broker object of another worker process."""
    with create_broker(rabbitmq_url, topology=nexus_topology("", FOUR)) as broker:
        yield broker


def one_of_each(lab: Lab) -> list[UUID]:
    """A workflow of each partition."""
    found: dict[int, UUID] = {}
    while len(found) < FOUR:
        workflow = lab.workflow()
        found.setdefault(partition_of(workflow, FOUR), workflow)
    return [found[number] for number in range(FOUR)]


def send(lab: Lab, workflows: list[UUID], count: int) -> None:
    """Send messages to each workflow, in turn, and publish them."""
    lab.bus.send_many(
        [
            Outgoing(workflow_id=workflow, source="web", recipient="a", type="test.message", data=None)
            for _ in range(count)
            for workflow in workflows
        ]
    )
    lab.publish_quickly()


def handled(lab: Lab, workflows: list[UUID]) -> list[list[int]]:
    return [lab.ledger.handled(workflow, "a") for workflow in workflows]


def until(lab: Lab, step: Callable[[], object], workflows: list[UUID], count: int) -> None:
    def done() -> bool:
        step()
        return all(len(numbers) >= count for numbers in handled(lab, workflows))

    wait_until(done, WAIT, f"{count} of each workflow to be handled")
    assert handled(lab, workflows) == [list(range(1, count + 1))] * len(workflows), "in order, once"


def test_two_consumers_share_and_one_that_dies_is_replaced(lab: Lab, other: MessageBroker) -> None:
    second = SteppedConsumer(other)
    workflows = one_of_each(lab)

    def both() -> None:
        lab.consumer.step()
        second.step()

    def shared() -> bool:
        send(lab, workflows, 1)
        both()
        mine, its = lab.consumer._shares.foreign, second._shares.foreign
        return mine.isdisjoint(its) and len(mine) == len(its) == 2 and len(lab.consumer._shares._gave_way) == 2

    wait_until(shared, WAIT, "the first one, to which all came, to give two partitions way")
    count = len(lab.states(workflows[0]))
    until(lab, both, workflows, count)

    send(lab, workflows, 5)
    theirs = [workflow for workflow in workflows if f"nexus.transactional.{workflows.index(workflow)}" in
              lab.consumer._shares.foreign]  # fmt: skip
    ours = [workflow for workflow in workflows if workflow not in theirs]
    until(lab, lab.consumer.step, ours, count + 5)
    assert handled(lab, theirs) == [list(range(1, count + 1))] * 2, "its own partitions are all that it gets"

    second.take_and_die()  # with messages that it has not acknowledged
    other.close()
    until(lab, lab.consumer.step, workflows, count + 5)


def change(lab: Lab, count: int) -> None:
    """End everything and start it again with another number of partitions."""
    lab.consumer.die()
    lab.broker.close()
    lab.configure(queue_partitions=count)
    lab.broker = get_broker()
    lab.broker.initialize()
    lab.new_consumer()
    lab.relay = Relay(lab.broker)


def test_changing_their_number_loses_nothing(lab: Lab) -> None:
    workflows = one_of_each(lab)
    change(lab, 1)
    send(lab, workflows, 3)
    change(lab, 4)
    send(lab, workflows, 3)
    change(lab, 2)
    send(lab, workflows, 3)

    def turn() -> None:
        lab.work()
        lab.relay_turn(after=1.0)

    until(lab, turn, workflows, 9)
    assert set(QueueMarker.objects.values_list("queue", flat=True)) == {
        "transactional",
        "transactional.0",
        "transactional.1",
        "leased",
    }
    (warning,) = check_left_partitions(lab.broker, 2)
    assert warning.id == "nexus.W010"
    assert "nexus.transactional.2, nexus.transactional.3." in warning.msg

    duplicates = lab.broker.queue_depth("nexus.transactional.2")
    assert duplicates > 0, "what was published again is still there"
    change(lab, 4)
    assert check_left_partitions(lab.broker, 4) == []

    def drained() -> bool:
        lab.work()
        return lab.consumer.outcomes[Outcome.DUPLICATE] >= 3

    wait_until(drained, WAIT, "what lay there to be read again")
    assert handled(lab, workflows) == [list(range(1, 10))] * FOUR


def test_a_delivery_lost_in_one_partition_waits_for_the_markers_of_all(lab: Lab, other: MessageBroker) -> None:
    workflows = one_of_each(lab)
    lab.relay_turn()
    lab.work(2)
    send(lab, workflows[:1], 1)
    lost = other.subscribe("nexus.transactional.0", prefetch=10)
    lab.consumer.die()

    def taken() -> bool:
        other.acknowledge(other.receive(lost, limit=10, timeout=0.1))
        return other.queue_depth("nexus.transactional.0") == 0

    wait_until(taken, WAIT, "it to be lost")
    other.unsubscribe(lost)
    lab.new_consumer()
    lab.relay_turn(after=30)
    later = timezone.now() + timedelta(hours=1)
    for unseen in ("transactional", "transactional.0", "transactional.3"):
        QueueMarker.objects.update(seen_at=later)
        QueueMarker.objects.filter(queue=unseen).update(seen_at=None)
        assert due.take_back_lost() == 0, "nothing says yet that it is in no queue"
        QueueMarker.objects.filter(queue=unseen).update(seen_at=later - timedelta(hours=2))
        assert due.take_back_lost() == 0, "the marker is older than the delivery"
    QueueMarker.objects.update(seen_at=None)

    def turn() -> None:
        lab.relay_turn(after=1.0)
        lab.work()

    until(lab, turn, workflows[:1], 1)
