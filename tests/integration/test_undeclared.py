"""A process that sends before anybody has declared the exchanges."""

from __future__ import annotations

from typing import cast
from uuid import uuid4

import pytest
from pytest_django.fixtures import Settings

from messaging.api import MessageBroker
from messaging.brokers import Confirmation, OutgoingMessage
from messaging.brokers.topology import TRANSACTIONAL_QUEUE
from messaging.core.breaker import BreakerState
from messaging.core.ids import uuid7
from messaging.log import StoredDelivery
from messaging.testing.servers.waiting import wait_until
from messaging.transport.current import get_broker
from messaging.transport.publisher import Publisher, broker_breaker


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("count", [1, 5], ids=["one delivery", "a bundle of five"])
def test_it_declares_them_instead_of_opening_its_breaker(rabbitmq_url: str, settings: Settings, count: int) -> None:
    settings.NEXUS = {"BROKER_URL": rabbitmq_url, "BREAKER_FAILURES": 2}
    broker = get_broker()
    publisher = Publisher(broker, mark_every=0.0)

    def publish() -> None:
        burst = [
            StoredDelivery(id=uuid7(), workflow_id=uuid4(), queue="transactional", body=b"{}", signature="")
            for _ in range(count)
        ]
        publisher.begin(burst)
        publisher.flush(5.0)
        assert publisher.outstanding == 0

    try:
        publish()  # is returned, the topology is declared, and it is written again
        assert broker_breaker().state is BreakerState.CLOSED
        wait_until(lambda: broker.queue_depth(TRANSACTIONAL_QUEUE) == 1, 10, "it to be in its queue")
        for _ in range(5):
            publish()
        assert broker_breaker().state is BreakerState.CLOSED
    finally:
        broker.close()


class WithoutQueues:
    """Returns whatever is published, however often its queues are declared."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.pending: list[str] = []

    def initialize(self) -> None:
        pass

    def publish_begin(self, messages: list[OutgoingMessage]) -> None:
        self.pending = [message.id for message in messages]
        self.written += self.pending

    def publish_collect(self, timeout: float) -> dict[str, Confirmation]:
        known, self.pending = self.pending, []
        return dict.fromkeys(known, Confirmation.RETURNED)

    @property
    def outstanding(self) -> int:
        return len(self.pending)


@pytest.mark.django_db
def test_what_is_returned_twice_is_left_to_the_relay() -> None:
    broker = WithoutQueues()
    publisher = Publisher(cast(MessageBroker, broker))
    stored = StoredDelivery(id=uuid7(), workflow_id=uuid4(), queue="leased", body=b"{}", signature="")
    publisher.begin([stored])
    publisher.flush(5.0)
    assert broker.written == [str(stored.id)] * 2
