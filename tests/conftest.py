"""Fixtures that every kind of test may use; tests/README.md describes them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from django.conf import settings
from django.db import connection

from messaging.gate import sending
from messaging.gate.steps.sanitize import sanitize
from messaging.testing.servers.nodes import PostgresNode, RabbitMQNode, RedisNode
from tests.support.database import flush_quickly
from tests.support.installation import process_environment
from tests.support.plugin import chosen_vendor, data_folder_key
from tests.support.services import require

_VIRTUAL_HOSTS_AT_ONCE = 8

# Some ten minutes of the properties of a file: --hypothesis-profile=fuzz. What fails is kept in .hypothesis/examples.
hypothesis.settings.register_profile("fuzz", max_examples=20_000, deadline=None)


def pytest_configure() -> None:
    """Make passwords cheap: no test is about their hashing. Make it cheap to empty the database after a test."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    flush_quickly()


# --- the run's database ---


@pytest.fixture(scope="session")
def database_vendor() -> str:
    """The database of this run, "sqlite" or "postgres" (TEST_DATABASE)."""
    return chosen_vendor()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    request: pytest.FixtureRequest, django_db_modify_db_settings_parallel_suffix: None, database_vendor: str
) -> None:
    """Test on a SQLite *file*: one in memory has neither WAL nor real locks, and no other process can open it."""
    if database_vendor == "sqlite":
        connection.settings_dict["TEST"]["NAME"] = str(request.config.stash[data_folder_key] / "test.sqlite3")


@pytest.fixture
def database_url(transactional_db: None, database_vendor: str) -> str:
    """The URL of the database that this test sees, for the processes that it starts."""
    name = str(connection.settings_dict["NAME"])
    if database_vendor == "sqlite":
        return f"sqlite:///{name}"
    return os.environ["DATABASE_URL"].rpartition("/")[0] + f"/{name}"


@pytest.fixture
def raw_content(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send what a message carries as it is, uncleaned: to see what is behind the sending gate get everything."""
    kept = tuple(step for step in sending.SENDING if step is not sanitize)
    monkeypatch.setattr(sending, "SENDING", kept)


@pytest.fixture
def project_environment(tmp_path: Path) -> dict[str, str]:
    """The environment for a process of this project, in embedded mode with an empty folder of its own.

    Add DATABASE_URL, BROKER_URL, REDIS_URL as the test needs.
    """
    return process_environment(tmp_path)


# --- private servers: one of each for the session, started by the first test that asks ---


@pytest.fixture(scope="session")
def rabbitmq_session() -> Iterator[RabbitMQNode]:
    """The session's RabbitMQ; function-scoped code uses `rabbitmq`."""
    require(RabbitMQNode)
    with RabbitMQNode() as node:
        yield node


@pytest.fixture
def rabbitmq(rabbitmq_session: RabbitMQNode) -> RabbitMQNode:
    """The session's RabbitMQ, running, whatever an earlier test did to it. All tests share its virtual host /."""
    rabbitmq_session.start()
    rabbitmq_session.resume()
    return rabbitmq_session


@pytest.fixture(scope="session")
def _virtual_hosts() -> list[str]:
    """URLs made in advance: making several costs what making one costs."""
    return []


@pytest.fixture
def rabbitmq_url(rabbitmq: RabbitMQNode, _virtual_hosts: list[str]) -> str:
    """The URL of an empty virtual host that only this test uses."""
    if not _virtual_hosts:
        names = [f"test-{secrets.token_hex(4)}" for _ in range(_VIRTUAL_HOSTS_AT_ONCE)]
        _virtual_hosts.extend(rabbitmq.create_virtual_hosts(names))
    return _virtual_hosts.pop()


@pytest.fixture(scope="session")
def postgres_session() -> Iterator[PostgresNode]:
    """The session's durable PostgreSQL; function-scoped code uses `postgres`."""
    require(PostgresNode)
    with PostgresNode(settings={"max_prepared_transactions": "64"}) as node:
        yield node


@pytest.fixture
def postgres(postgres_session: PostgresNode) -> PostgresNode:
    """A durable PostgreSQL, running, that tests may kill. It is not the run's database: create one in it."""
    postgres_session.start()
    postgres_session.resume()
    return postgres_session


@pytest.fixture(scope="session")
def redis_session() -> Iterator[RedisNode]:
    """The session's Redis; function-scoped code uses `redis_node`."""
    require(RedisNode)
    with RedisNode() as node:
        yield node


@pytest.fixture
def redis_node(redis_session: RedisNode) -> RedisNode:
    """The session's Redis, running."""
    redis_session.start()
    redis_session.resume()
    return redis_session
