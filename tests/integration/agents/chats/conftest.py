"""Fixtures of the tests of durable chats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import connection
from pytest_django.fixtures import Settings

from tests.integration.agents.processes.site import Site, site_environment
from tests.support.lab import Lab
from tests.support.model_server import ModelServer

MakeSite = Callable[..., Site]


@pytest.fixture
def lab(transactional_db: None, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """The system in one thread, on the run's database, with a broker in memory."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous=OFF")  # nobody cuts the power here
    laboratory = Lab(settings, monkeypatch)
    yield laboratory
    laboratory.close()


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """Counts what the members' model is asked."""
    with ModelServer() as running:
        yield running


@pytest.fixture
def make_site(
    request: pytest.FixtureRequest,
    project_environment: dict[str, str],
    database_url: str,
    database_vendor: str,
    tmp_path: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    server: ModelServer,
) -> MakeSite:
    """Makes a worker and a relay that know the panel: RabbitMQ beside PostgreSQL, the embedded broker beside SQLite."""

    def make(*, processes: int = 2, **options: object) -> Site:
        if database_vendor == "postgres":
            options["broker_url"] = request.getfixturevalue("rabbitmq_url")
        environment = site_environment(
            project_environment,
            database_url,
            tmp_path,
            settings,
            monkeypatch,
            "tests.integration.agents.chats.panel",
            max_attempts=50,
            relay_lease=1,
            **options,
        )
        environment["BROKER_URL"] = environment.pop("NEXUS_BROKER_URL", environment["BROKER_URL"])
        return Site({**environment, "SERVER_URL": server.url}, tmp_path, processes=processes)

    return make
