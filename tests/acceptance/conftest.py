"""Fixtures of the acceptance tests: whole installations on private servers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.installation import Installation, migrated_database
from tests.support.nodes import PostgresNode

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
