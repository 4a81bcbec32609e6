"""A bus and a workflow inside the test's own transaction."""

from __future__ import annotations

from uuid import UUID

import pytest

from messaging.api import ReliableCommunicationBus


@pytest.fixture
def bus(db: None) -> ReliableCommunicationBus:
    """The durable bus, with the program "web"."""
    bus = ReliableCommunicationBus()
    bus.register_agent("web")
    return bus


@pytest.fixture
def workflow(bus: ReliableCommunicationBus) -> UUID:
    """A workflow."""
    return bus.start_workflow("test")
