"""The checks against a real RabbitMQ, and a real worker that refuses to start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from amqp import Connection

from messaging.brokers import NEXUS_TOPOLOGY, RabbitMQBroker
from messaging.brokers.rabbitmq.endpoint import Endpoint

ROOT = Path(__file__).resolve().parents[2]
QUORUM = {"x-queue-type": "quorum"}


def run(environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the project to its end."""
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def declare(url: str, name: str, arguments: dict[str, str]) -> None:
    """Declare a queue as somebody else would."""
    endpoint = Endpoint.parse(url)
    with Connection(
        endpoint.host, endpoint.user, endpoint.password, virtual_host=endpoint.virtual_host, connect_timeout=5
    ) as connection:
        connection.channel().queue_declare(name, durable=True, auto_delete=False, arguments=arguments)


@pytest.fixture
def environment(project_environment: dict[str, str], database_url: str, rabbitmq_url: str) -> dict[str, str]:
    """Of a process beside RabbitMQ, on the database of this test."""
    return {**project_environment, "DATABASE_URL": database_url, "BROKER_URL": rabbitmq_url}


def check_broker(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return run(environment, "manage.py", "check", "--deploy", "--tag", "nexus_broker")


def test_a_broker_that_fits(environment: dict[str, str]) -> None:
    for _ in range(2):
        result = check_broker(environment)
        assert result.returncode == 0, result.stderr
        assert "nexus." not in result.stderr


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("nexus.transactional", {"x-queue-type": "classic"}),
        ("nexus.transactional", QUORUM),  # without its dead-letter exchange
        ("nexus.tasks", {"x-queue-type": "classic"}),
    ],
)
def test_a_queue_that_exists_with_other_arguments(
    environment: dict[str, str], rabbitmq_url: str, name: str, arguments: dict[str, str]
) -> None:
    declare(rabbitmq_url, name, arguments)
    result = check_broker(environment)
    assert result.returncode == 1
    assert "nexus.E005" in result.stderr
    assert f"'{name}'" in result.stderr
    assert f"rabbitmqctl delete_queue {name}" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_worker_refuses_what_celery_would_die_of(environment: dict[str, str], rabbitmq_url: str) -> None:
    declare(rabbitmq_url, "nexus.tasks", {"x-queue-type": "classic"})
    environment = {**environment, "NEXUS_DEDUP_TTL": "60"}
    result = run(environment, "-m", "celery", "-A", "nexus_site", "worker", "--pool", "solo")
    assert result.returncode == 78, result.stderr
    refusal = result.stderr[result.stderr.index("The worker does not start") :]
    assert "nexus.E005" in refusal
    assert "nexus.E008" in refusal
    assert "Fix: " in refusal
    assert "Traceback" not in refusal
    RabbitMQBroker(rabbitmq_url, topology=NEXUS_TOPOLOGY).initialize()  # its own queues were declared all the same


def test_a_worker_refuses_a_database_without_tables(project_environment: dict[str, str]) -> None:
    result = run(project_environment, "-m", "celery", "-A", "nexus_site", "worker", "--pool", "solo")
    assert result.returncode == 78, result.stderr
    assert "nexus.E017" in result.stderr
    assert "manage.py migrate" in result.stderr
