"""A process that sends before anybody has declared the exchanges."""

from __future__ import annotations

from uuid import uuid4

import pytest
from pytest_django.fixtures import Settings

from messaging.brokers.topology import TRANSACTIONAL_QUEUE
from messaging.core.breaker import BreakerState
from messaging.core.ids import uuid7
from messaging.log import StoredDelivery
from messaging.testing.servers.waiting import wait_until
from messaging.transport.current import get_broker
from messaging.transport.publisher import Publisher, broker_breaker


@pytest.mark.django_db(transaction=True)
def test_it_declares_them_instead_of_opening_its_breaker(rabbitmq_url: str, settings: Settings) -> None:
    settings.NEXUS = {"BROKER_URL": rabbitmq_url, "BREAKER_FAILURES": 2}
    broker = get_broker()
    publisher = Publisher(broker, mark_every=0.0)

    def publish() -> None:
        stored = StoredDelivery(id=uuid7(), workflow_id=uuid4(), queue="transactional", body=b"{}", signature="")
        publisher.begin([stored])
        publisher.flush(5.0)

    try:
        publish()  # is returned, and the topology is declared
        publish()
        assert broker_breaker().state is BreakerState.CLOSED
        wait_until(lambda: broker.queue_depth(TRANSACTIONAL_QUEUE) == 1, 10, "the second one to be in its queue")
        for _ in range(5):
            publish()
        assert broker_breaker().state is BreakerState.CLOSED
    finally:
        broker.close()
