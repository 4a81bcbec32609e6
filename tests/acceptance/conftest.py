"""Fixtures of the acceptance tests: whole installations on private servers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from messaging.testing.servers.nodes import PostgresNode
from tests.support.installation import Installation, migrated_database, run_program

Install = Callable[..., Installation]


@pytest.fixture
def install(postgres: PostgresNode, project_environment: dict[str, str], tmp_path: Path) -> Iterator[Install]:
    """Make an installation on the session's PostgreSQL and a broker; NEXUS settings follow as lower-case options."""
    with ExitStack() as stack:

        def make(broker_url: str, *, environment: dict[str, str] | None = None, **options: object) -> Installation:
            name = f"acceptance_{secrets.token_hex(4)}"
            variables = {**project_environment, "SECRET_KEY": secrets.token_hex(32), "BROKER_URL": broker_url}
            variables["DATABASE_URL"] = migrated_database(postgres, name, variables)
            return stack.enter_context(Installation(tmp_path, {**variables, **(environment or {})}, **options))

        yield make


@pytest.fixture
def install_embedded(project_environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Installation]]:
    """Make an installation without servers."""
    with ExitStack() as stack:

        def make(*, environment: dict[str, str] | None = None, **options: object) -> Installation:
            variables = {
                name: value for name, value in project_environment.items() if name not in {"BROKER_URL", "DATABASE_URL"}
            }
            variables["DATABASE_URL"] = f"sqlite:///{tmp_path / 'nexus.sqlite3'}"
            run_program(["-m", "tests.support.race", "prepare"], variables, timeout=120)
            return stack.enter_context(Installation(tmp_path, {**variables, **(environment or {})}, **options))

        yield make
