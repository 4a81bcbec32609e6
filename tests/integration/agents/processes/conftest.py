"""Fixtures of the tests of agents with real processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from tests.integration.agents.processes.site import Site, site_environment
from tests.support.model_server import ModelServer

MakeSite = Callable[..., Site]


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """A server that plays a model's API and counts."""
    with ModelServer() as running:
        yield running


@pytest.fixture
def make_site(
    project_environment: dict[str, str],
    database_url: str,
    tmp_path: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    server: ModelServer,
) -> MakeSite:
    """Makes a site whose agents find the server in SERVER_URL."""

    def make(agents: str, *, processes: int = 1, second_worker: bool = False, **options: object) -> Site:
        environment = site_environment(
            project_environment, database_url, tmp_path, settings, monkeypatch, agents, **options
        )
        return Site(
            {**environment, "SERVER_URL": server.url}, tmp_path, processes=processes, second_worker=second_worker
        )

    return make
