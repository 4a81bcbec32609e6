"""What a relay reads from RabbitMQ: only while it leads, for what the broker handed out here no other relay gets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import amqp
import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from messaging.brokers.topology import DEAD_LETTER_QUEUE, INBOX_QUEUE
from messaging.conf import get_settings
from messaging.models import RelayLease
from tests.support.lab import Lab


@pytest.fixture
def lab(
    committed_database: None, settings: Settings, monkeypatch: pytest.MonkeyPatch, rabbitmq_url: str
) -> Iterator[Lab]:
    """The system in one thread, on RabbitMQ."""
    laboratory = Lab(settings, monkeypatch, broker_url=rabbitmq_url)
    yield laboratory
    laboratory.close()


def readers(url: str) -> list[int]:
    """How many consumers the two queues have that relays read."""
    host, _, virtual_host = url.removeprefix("amqp://guest:guest@").partition("/")
    with amqp.Connection(host, virtual_host=virtual_host) as connection:
        channel = connection.channel()
        return [channel.queue_declare(name, passive=True).consumer_count for name in (DEAD_LETTER_QUEUE, INBOX_QUEUE)]


def test_they_are_given_up_with_the_lead(lab: Lab, rabbitmq_url: str) -> None:
    lab.relay_turn()
    assert readers(rabbitmq_url) == [1, 1]
    lease = get_settings().relay_lease
    lab.clock.advance(lease / 2)
    RelayLease.objects.update(token=uuid4(), expires_at=timezone.now() + timedelta(seconds=lease))
    lab.relay_turn()
    assert readers(rabbitmq_url) == [0, 0]
