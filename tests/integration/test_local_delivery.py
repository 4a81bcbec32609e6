"""What handlers send to agents of their own worker needs no broker, and survives that worker all the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

import pytest
from pytest_django.fixtures import Settings

from messaging.api import Envelope, HandlerContext, OutgoingMessage
from messaging.brokers.memory import InMemoryBroker
from messaging.models import Delivery, DeliveryState
from messaging.receiving import local
from messaging.receiving.transactional import calling
from messaging.transport.wire import DELIVER_TASK
from tests.support.lab import Lab
from tests.support.ledger import read

pytestmark = pytest.mark.django_db(transaction=True)

QUICK = 0.001
OTHER = {"ping": "pong", "pong": "ping"}


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the deliveries that any publisher of this process hands to the broker."""
    seen: list[str] = []
    publish = InMemoryBroker.publish_begin

    def watch(broker: InMemoryBroker, messages: Sequence[OutgoingMessage]) -> None:
        seen.extend(message.id for message in messages if message.headers["task"] == DELIVER_TASK)
        publish(broker, messages)

    monkeypatch.setattr(InMemoryBroker, "publish_begin", watch)
    return seen


@pytest.fixture(autouse=True)
def known(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, float], None]:
    """Says how long an agent's handler usually takes; here all are quick, and delivery is local."""
    lab.configure(local_delivery="apart")
    lab.restart_consumer()
    for name in OTHER:
        monkeypatch.setitem(calling._averages, name, QUICK)
    return lambda name, seconds: monkeypatch.setitem(calling._averages, name, seconds)


def count_down(message: Envelope, context: HandlerContext) -> None:
    """Answer with one less, until nothing is left."""
    if message.data:
        context.send(OTHER[context.agent], "test.message", message.data - 1)


def race(lab: Lab, legs: int) -> UUID:
    """Send the first message of a count-down between two agents, through the broker."""
    for name in OTHER:
        lab.agent(name, count_down)
    workflow = lab.workflow()
    lab.send(workflow, "ping", legs)
    lab.publish()
    return workflow


def handled(workflow: UUID) -> int:
    return Delivery.objects.filter(workflow=workflow, state=DeliveryState.PROCESSED).count()


def test_an_answer_needs_no_broker(lab: Lab, published: list[str]) -> None:
    workflow = race(lab, 5)
    published.clear()
    lab.work()
    assert handled(workflow) == 6
    assert published == []
    assert [entry.sequence for entry in read()] == [1, 2, 3, 4, 5, 6]


def test_a_worker_that_dies_leaves_it_to_the_relay(lab: Lab, published: list[str]) -> None:
    workflow = race(lab, 2)
    lab.consumer.step()
    assert handled(workflow) == 1
    assert len(lab.consumer._local) == 1
    lab.restart_consumer()
    published.clear()
    lab.work()
    assert handled(workflow) == 1, "nobody has it but the log"
    lab.relay_turn(after=5.0)
    assert len(published) == 1
    lab.work()
    assert handled(workflow) == 3
    assert len(read()) == 3


def test_what_the_relay_published_meanwhile_is_handled_once(lab: Lab) -> None:
    workflow = race(lab, 1)
    lab.consumer.step()
    lab.relay_turn(after=5.0)
    lab.work(3)
    assert handled(workflow) == 2
    assert len(read()) == 2


def test_a_worker_that_stops_publishes_it(lab: Lab, published: list[str]) -> None:
    race(lab, 1)
    lab.consumer.step()
    published.clear()
    lab.consumer._drain()
    assert len(published) == 1


@pytest.mark.parametrize("seconds", [None, 2 * local.MAX_SECONDS])
def test_a_slow_or_unknown_agent_gets_it_from_the_broker(
    lab: Lab, published: list[str], monkeypatch: pytest.MonkeyPatch, seconds: float | None
) -> None:
    race(lab, 1)
    if seconds is None:
        monkeypatch.delitem(calling._averages, "pong")
    else:
        monkeypatch.setitem(calling._averages, "pong", seconds)
    published.clear()
    lab.consumer.step()
    assert len(published) == 1
    assert not lab.consumer._local


def test_a_message_with_others_before_it_goes_through_the_broker(lab: Lab, published: list[str]) -> None:
    workflow = race(lab, 1)
    lab.send(workflow, "pong", 0)  # stored first, and not published yet
    waiting = lab.take_offered()
    published.clear()
    lab.consumer.step()
    assert len(published) == 1
    assert not lab.consumer._local
    lab.publish(waiting)
    lab.settle()
    assert [entry.sequence for entry in read() if entry.agent == "pong"] == [2, 3]


def test_what_goes_to_one_mailbox_stays_together(lab: Lab, published: list[str], known: Callable[..., None]) -> None:
    def answer_twice(message: Envelope, context: HandlerContext) -> None:
        if context.agent == "ping":
            context.send("pong", "test.message")
            context.send("pong", "test.message")

    for name in OTHER:
        lab.agent(name, answer_twice)
    for expected, seconds in ((0, QUICK), (2, local.MAX_SECONDS * 0.6)):  # together too long: neither is kept
        known("pong", seconds)
        lab.send(lab.workflow(), "ping")
        lab.publish()
        published.clear()
        lab.consumer.step()
        assert (len(published), len(lab.consumer._local)) == (expected, 2 - expected)
        lab.work()


def test_it_can_be_switched_off(settings: Settings, lab: Lab, published: list[str]) -> None:
    lab.configure(local_delivery="off")
    lab.restart_consumer()
    workflow = race(lab, 1)
    published.clear()
    lab.consumer.step()
    assert len(published) == 1
    lab.work()
    assert handled(workflow) == 2


def test_what_comes_from_elsewhere_has_its_share(lab: Lab, known: Callable[..., None]) -> None:
    lab.configure(batch_size=4)
    lab.restart_consumer()
    for _ in range(4):
        race(lab, 1_000)
    lab.consumer.step()
    assert len(lab.consumer._local) == 4
    late = race(lab, 0)
    lab.consumer.step()
    assert handled(late) == 1
