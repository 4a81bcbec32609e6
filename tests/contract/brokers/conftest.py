"""One suite for every message broker: each test here runs on RabbitMQ, on a file, and in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from messaging.brokers import MessageBroker, Topology, create_broker, nexus_topology
from tests.contract.brokers.scenario import Scenario


@pytest.fixture
def topology() -> Topology:
    """A topology whose names only this test uses."""
    return nexus_topology(f"{uuid4().hex[:12]}.")


@pytest.fixture(params=["rabbitmq", "embedded", "memory"])
def broker_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of each kind of broker in turn."""
    if request.param == "rabbitmq":
        return str(request.getfixturevalue("rabbitmq").url)
    if request.param == "embedded":
        return f"embedded://{tmp_path / 'transport.sqlite3'}"
    return f"memory://{uuid4()}"


@pytest.fixture
def connect(broker_url: str, topology: Topology) -> Iterator[Callable[[], MessageBroker]]:
    """Make further broker objects on the same queues."""
    brokers: list[MessageBroker] = []

    def make() -> MessageBroker:
        brokers.append(create_broker(broker_url, topology=topology))
        return brokers[-1]

    yield make
    for broker in brokers:
        broker.close()


@pytest.fixture
def broker(connect: Callable[[], MessageBroker]) -> MessageBroker:
    """An initialized broker."""
    broker = connect()
    broker.initialize()
    return broker


@pytest.fixture
def scenario(broker: MessageBroker) -> Scenario:
    """Short words for what these tests do all the time."""
    return Scenario(broker)
