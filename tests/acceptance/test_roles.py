"""The roles of deploy/: an installation works with them, and they may do nothing else. On RabbitMQ and PostgreSQL."""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess

import amqp
import psycopg
import pytest

from messaging.testing.servers.nodes import PostgresNode, RabbitMQNode
from tests.acceptance.conftest import Install
from tests.support.paths import ROOT

pytestmark = [pytest.mark.whole, pytest.mark.slow, pytest.mark.timeout(180)]
PASSWORD, WEB_PASSWORD = "worker-password", "web-password"


def make_users(node: RabbitMQNode, host: str) -> None:
    script = node._folder_of_scripts() / "rabbitmqctl"
    subprocess.run(
        [ROOT / "deploy" / "rabbitmq_roles.sh", host],
        env={
            **os.environ,
            **node._environment(),
            "RABBITMQCTL": shlex.join([str(script), "-n", node.name]),
            "RABBITMQ_PASSWORD": PASSWORD,
            "RABBITMQ_WEB_PASSWORD": WEB_PASSWORD,
        },
        check=True,
        capture_output=True,
        timeout=100,
    )


def url_of(node: RabbitMQNode, user: str, password: str, host: str) -> str:
    return f"amqp://{user}:{password}@127.0.0.1:{node.port}/{host}"


def make_roles(postgres: PostgresNode, database: str) -> None:
    script = (ROOT / "deploy" / "postgres_roles.sql").read_bytes()
    for _ in range(2):
        with psycopg.connect(postgres.url(database), autocommit=True) as connection:
            connection.execute(script)


def test_an_installation_works_with_the_least_roles(
    install: Install, postgres: PostgresNode, rabbitmq: RabbitMQNode
) -> None:
    host = f"roles-{secrets.token_hex(4)}"
    make_users(rabbitmq, host)
    installation = install(url_of(rabbitmq, "nexus", PASSWORD, host), redelivery_after=5, publish_grace=1)
    database = installation.environment["DATABASE_URL"].rpartition("/")[2]
    make_roles(postgres, database)
    address = f"127.0.0.1:{postgres.port}/{database}"
    app = f"postgresql://nexus_app@{address}"
    installation.environment["DATABASE_URL"] = app
    installation.relay()
    worker = installation.worker(concurrency=1)
    worker.wait_for_log("ready", 60)
    installation.environment["BROKER_URL"] = url_of(rabbitmq, "nexus-web", WEB_PASSWORD, host)
    installation.program("race", "5", "10")
    installation.wait_processed(50, 60)
    installation.assert_handled_once_in_order(50)
    assert "ACCESS_REFUSED" not in installation.logs(100_000)
    refuse_in_postgres(app, f"postgresql://nexus_read@{address}")
    refuse_in_rabbitmq(rabbitmq, host)


def refuse_in_postgres(app: str, read: str) -> None:
    structure = [
        "CREATE TABLE own (id int)",
        "DROP TABLE nexus_message",
        "ALTER TABLE nexus_message ADD COLUMN own int",
        "TRUNCATE nexus_message",
        "CREATE ROLE own",
        "SELECT rolpassword FROM pg_authid",
    ]
    for url, statements in (
        (app, structure),
        (read, [*structure, "DELETE FROM nexus_delivery", "UPDATE nexus_signing_key SET kid = 'x'"]),
    ):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SELECT count(*) FROM nexus_message")
            for statement in statements:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement.encode())


def refuse_in_rabbitmq(node: RabbitMQNode, host: str) -> None:
    def channel(user: str, password: str, virtual_host: str) -> amqp.Channel:
        connection = amqp.Connection(
            f"127.0.0.1:{node.port}", userid=user, password=password, virtual_host=virtual_host
        )
        connection.connect()
        return connection.channel()

    for user, password in (("nexus", PASSWORD), ("nexus-web", WEB_PASSWORD)):
        with pytest.raises(amqp.AccessRefused):
            channel(user, password, host).queue_declare("stranger")
        with pytest.raises(amqp.NotAllowed):
            channel(user, password, "/")
    for queue in ("nexus.transactional", "nexus.dead"):
        with pytest.raises(amqp.AccessRefused):
            channel("nexus-web", WEB_PASSWORD, host).basic_get(queue)
