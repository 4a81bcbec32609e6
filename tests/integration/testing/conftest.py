"""A bus and a workflow inside the test's own transaction."""

from __future__ import annotations

from pathlib import Path
from secrets import token_hex
from uuid import UUID

import pytest

from messaging.api import ReliableCommunicationBus
from messaging.testing.servers.nodes import PostgresNode


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


@pytest.fixture
def runner_database(request: pytest.FixtureRequest, database_vendor: str, tmp_path: Path) -> str:
    """The URL of a database beside which a test runner may make its own."""
    if database_vendor == "sqlite":
        return f"sqlite:///{tmp_path / 'own.sqlite3'}"
    postgres: PostgresNode = request.getfixturevalue("postgres")
    return postgres.create_database(f"runner_{token_hex(4)}")
