"""Receiving bundles, on RabbitMQ and both databases: nothing lost, nothing twice, garbage is a dead letter."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from celery import current_app
from django.db import transaction
from pytest_django.fixtures import Settings

from messaging.api import Confirmation, Outgoing, OutgoingMessage
from messaging.brokers.rabbitmq.bundles import BUNDLE_TASK, BUNDLE_TYPE, pack
from messaging.brokers.topology import LEASED_QUEUE, MAIN_EXCHANGE, TRANSACTIONAL_QUEUE
from messaging.core.outcome import Outcome
from messaging.models import DeadLetter
from messaging.receiving import tasks
from messaging.testing.servers.waiting import wait_until
from messaging.transport import wire
from tests.support.lab import Lab

WAIT = 60.0
SIZE = 4


@pytest.fixture
def lab(
    committed_database: None, settings: Settings, monkeypatch: pytest.MonkeyPatch, rabbitmq_url: str
) -> Iterator[Lab]:
    """The system in one thread, on RabbitMQ: bundles of four, batches of six."""
    laboratory = Lab(settings, monkeypatch, broker_url=rabbitmq_url, bundle_size=SIZE, batch_size=6)
    yield laboratory
    laboratory.close()


def send(lab: Lab, workflow: UUID, count: int) -> None:
    one = Outgoing(workflow_id=workflow, source="web", recipient="a", type="test.message", data=None)
    lab.bus.send_many([one] * count)


def waits(lab: Lab, count: int, queue: str = TRANSACTIONAL_QUEUE) -> None:
    wait_until(lambda: lab.broker.queue_depth(queue) == count, WAIT, f"{count} to wait in {queue}")


def work_until(lab: Lab, workflow: UUID, count: int) -> None:
    def done() -> bool:
        lab.work()
        return len(lab.ledger.handled(workflow, "a")) >= count

    wait_until(done, WAIT, f"{count} to be handled")


def put(lab: Lab, body: bytes) -> None:
    carrier = OutgoingMessage(
        id=str(uuid4()),
        body=body,
        exchange=MAIN_EXCHANGE,
        routing_key=TRANSACTIONAL_QUEUE,
        headers={"task": BUNDLE_TASK, "id": str(uuid4())},
        content_type=BUNDLE_TYPE,
    )
    assert lab.broker.publish(carrier, timeout=WAIT) is Confirmation.CONFIRMED


def test_a_worker_killed_with_a_bundle_half_acknowledged(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    send(lab, workflow, 8)
    lab.publish_quickly()
    waits(lab, 2)
    work_until(lab, workflow, 6)
    assert lab.ledger.handled(workflow, "a") == [1, 2, 3, 4, 5, 6], "a batch: a bundle and a half"
    lab.restart_consumer()
    waits(lab, 1)
    work_until(lab, workflow, 8)
    assert lab.ledger.handled(workflow, "a") == [1, 2, 3, 4, 5, 6, 7, 8]
    assert lab.consumer.outcomes[Outcome.DUPLICATE] == 2
    lab.consumer.die()
    waits(lab, 0)
    assert lab.all_processed(workflow)
    assert not lab.ledger.doubles()


def test_a_worker_killed_after_its_commit(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    send(lab, workflow, 4)
    lab.publish_quickly()
    waits(lab, 1)

    def committed() -> bool:
        lab.consumer.step_without_acknowledging()
        return lab.all_processed(workflow)

    wait_until(committed, WAIT, "the batch to commit")
    lab.restart_consumer()
    waits(lab, 1)

    def known() -> bool:
        lab.work()
        return lab.consumer.outcomes[Outcome.DUPLICATE] == 4

    wait_until(known, WAIT, "all four to be known as duplicates")
    assert lab.ledger.handled(workflow, "a") == [1, 2, 3, 4]


def test_leased_deliveries_and_markers_travel_alone(lab: Lab) -> None:
    lab.agent("a")
    lab.agent("slow", leased=True)
    workflow = lab.workflow()
    with transaction.atomic():
        for agent in ("a", "slow") * 3:
            lab.send(workflow, agent)
    lab.publish_quickly()
    waits(lab, 1)
    waits(lab, 3, LEASED_QUEUE)
    wait_until(lambda: [lab.work()] and lab.all_processed(workflow), WAIT, "all to be handled")
    assert lab.ledger.handled(workflow, "a") == [1, 3, 5]


def test_a_forged_part_becomes_a_dead_letter_and_its_neighbours_are_handled(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    send(lab, workflow, 3)
    parts = [(message.headers, message.body) for message in map(wire.delivery_message, lab.take_offered())]
    forged = ({**parts[1][0], "signature": "x"}, parts[1][1].replace(b"test.message", b"test.massage"))
    put(lab, pack([parts[0], forged, parts[1], ({}, b"no task"), parts[2]], "application/cloudevents+json"))
    waits(lab, 1)
    work_until(lab, workflow, 3)
    assert lab.ledger.handled(workflow, "a") == [1, 2, 3]
    assert {bytes(letter.body) for letter in DeadLetter.objects.all()} == {forged[1], b"no task"}
    lab.consumer.die()
    waits(lab, 0)


def test_a_malformed_bundle_becomes_one_dead_letter(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    put(lab, b"\x01garbage")
    lab.send(workflow, "a")
    lab.publish()
    work_until(lab, workflow, 1)
    letter = DeadLetter.objects.get()
    assert (bytes(letter.body), letter.reason) == (b"\x01garbage", "unknown_task")
    assert "bundle" in letter.detail
    lab.consumer.die()
    waits(lab, 0)


@pytest.mark.parametrize("body", [None, b"\x01garbage"])
def test_an_ordinary_celery_worker_handles_a_bundle(
    lab: Lab, rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch, body: bytes | None
) -> None:
    """It reads the queue with kombu, decodes what it got by its content type, and runs the task of that name."""
    monkeypatch.setattr(tasks, "background_publisher", lambda: lab._offers)
    lab.agent("a")
    workflow = lab.workflow()
    if body is None:
        send(lab, workflow, 4)
        lab.publish_quickly()
    else:
        put(lab, body)
    waits(lab, 1)
    with current_app.connection_for_read(rabbitmq_url) as link:
        queue = link.SimpleQueue(TRANSACTIONAL_QUEUE, queue_opts={"no_declare": True})
        queue.consumer.accept = set(current_app.conf.accept_content)
        message = queue.get(timeout=WAIT)
        arguments, named, _ = message.decode()
        task = current_app.tasks[message.headers["task"]]
        result = task.apply(arguments, named, task_id=message.headers["id"])
        result.get()
        message.ack()
    if body is None:
        assert lab.ledger.handled(workflow, "a") == [1, 2, 3, 4]
        assert lab.all_processed(workflow)
    else:
        letter = DeadLetter.objects.get()
        assert (bytes(letter.body), letter.reason) == (body, "unknown_task")
