"""TLS to RabbitMQ and PostgreSQL: who is signed by our authority and called by its name is spoken to, nobody else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import dj_database_url
import psycopg
import pytest
from celery import Celery

from messaging.api import OutgoingMessage, create_broker
from messaging.brokers import kind_of
from messaging.brokers.topology import TRANSACTIONAL_QUEUE
from messaging.core.errors import BrokerUnavailable
from messaging.testing.servers.certificates import CertificateAuthority
from messaging.testing.servers.nodes import PostgresNode, RabbitMQNode
from tests.support.services import require


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    """Signs the servers' certificates, for 127.0.0.1 alone."""
    if shutil.which("openssl") is None:
        pytest.skip(str(CertificateAuthority.missing()))
    return _authority(tmp_path_factory, "ca")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    """Another authority, which signed nothing here."""
    return _authority(tmp_path_factory, "stranger")


def _authority(factory: pytest.TempPathFactory, name: str) -> CertificateAuthority:
    folder = factory.mktemp(name)
    for part in (folder, *folder.parents[:2]):
        part.chmod(0o755)  # servers run as other users
    return CertificateAuthority(folder)


@pytest.fixture(scope="module")
def rabbitmq(authority: CertificateAuthority) -> Iterator[RabbitMQNode]:
    require(RabbitMQNode)
    with RabbitMQNode(certificate=authority.issue("127.0.0.1")) as node:
        yield node


@pytest.fixture(scope="module")
def postgres(authority: CertificateAuthority) -> Iterator[PostgresNode]:
    require(PostgresNode)
    with PostgresNode(durable=False, certificate=authority.issue("127.0.0.1")) as node:
        yield node


def refused(rabbitmq: RabbitMQNode, authority: CertificateAuthority, stranger: CertificateAuthority) -> list[str]:
    """URLs by which nobody may get a connection: another authority, another name, nobody's authority."""
    return [
        rabbitmq.tls_url("127.0.0.1", stranger.certificate),
        rabbitmq.tls_url("localhost", authority.certificate),
        rabbitmq.tls_url("127.0.0.1", authority.certificate).partition("?")[0],
    ]


def test_messages_travel_by_tls(
    rabbitmq: RabbitMQNode, authority: CertificateAuthority, stranger: CertificateAuthority
) -> None:
    broker = create_broker(rabbitmq.tls_url("127.0.0.1", authority.certificate))
    try:
        broker.initialize()
        confirmation = broker.publish(
            OutgoingMessage(id="1", body=b"x", exchange="", routing_key=TRANSACTIONAL_QUEUE, headers={})
        )
        assert confirmation is not None
        listed = rabbitmq.rabbitmqctl("list_connections", "ssl")
        assert "true" in listed
        assert "false" not in listed
    finally:
        broker.close()
    for url in refused(rabbitmq, authority, stranger):
        other = create_broker(url)
        with pytest.raises(BrokerUnavailable, match="certificate"):
            other.initialize()
        other.close()


@pytest.mark.whole
def test_celerys_own_connection_checks_the_server_too(
    rabbitmq: RabbitMQNode, authority: CertificateAuthority, stranger: CertificateAuthority, tmp_path: Path
) -> None:
    for url in (rabbitmq.tls_url("127.0.0.1", authority.certificate), *refused(rabbitmq, authority, stranger)):
        kind = kind_of(url)
        assert kind is not None
        app = Celery("tls")
        app.conf.update(kind.celery_settings(url, folder=tmp_path))
        trusted = url.endswith("ca.pem") and "stranger" not in url and "localhost" not in url
        with app.connection_for_read(connect_timeout=5) as connection:
            if trusted:
                connection.connect()
                assert "true" in rabbitmq.rabbitmqctl("list_connections", "ssl")
            else:
                with pytest.raises(OSError, match="certificate"):
                    connection.connect()


def test_rows_travel_by_tls(
    postgres: PostgresNode, authority: CertificateAuthority, stranger: CertificateAuthority
) -> None:
    url = postgres.tls_url("127.0.0.1", authority.certificate)
    options = dj_database_url.parse(url)["OPTIONS"]
    assert options["sslmode"] == "verify-full"
    with psycopg.connect(url, connect_timeout=5) as connection:
        row = connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()
    assert row == (True,)
    for wrong in (
        postgres.tls_url("127.0.0.1", stranger.certificate),
        postgres.tls_url("localhost", authority.certificate),
    ):
        with pytest.raises(psycopg.OperationalError, match="certificate"):
            psycopg.connect(wrong, connect_timeout=5)
