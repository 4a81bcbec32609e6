"""Every connection heals: each place that holds one, and each way to lose it.

The places are in ``tests/support/healing_agents.py``; beside them the consumer, the relay, the publishing thread and
the program that waits take part in every single request.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from messaging.testing.servers.nodes import PostgresNode, RabbitMQNode
from messaging.testing.servers.processes import Supervised
from messaging.testing.servers.waiting import wait_until
from tests.acceptance.conftest import Install
from tests.support.healing_agents import PLACES
from tests.support.services import require

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def own_rabbitmq() -> Iterator[RabbitMQNode]:
    """A RabbitMQ that may lose its disk."""
    require(RabbitMQNode)
    with RabbitMQNode() as node:
        yield node


def lose_sessions(postgres: PostgresNode, _: RabbitMQNode, database: str) -> None:
    postgres.terminate_sessions(database)


def restart_database(postgres: PostgresNode, _: RabbitMQNode, __: str) -> None:
    postgres.restart()


def restart_broker(_: PostgresNode, rabbitmq: RabbitMQNode, __: str) -> None:
    rabbitmq.restart()


def empty_broker(_: PostgresNode, rabbitmq: RabbitMQNode, __: str) -> None:
    rabbitmq.kill()
    rabbitmq.wipe_data()
    rabbitmq.start()


PROGRAM = """
import pathlib, sys, django
django.setup()
from tests.support import healing_agents
healing_agents.main(pathlib.Path(sys.argv[1]))
"""
FAULTS = {
    "database restart": restart_database,
    "session terminated": lose_sessions,
    "broker restart": restart_broker,
    "broker empty": empty_broker,
}


@pytest.mark.parametrize(
    "fault", ["database restart", *(pytest.param(fault, marks=pytest.mark.whole) for fault in list(FAULTS)[1:])]
)
def test_every_place_works_again(
    install: Install, own_rabbitmq: RabbitMQNode, postgres: PostgresNode, tmp_path: Path, fault: str
) -> None:
    own_rabbitmq.start()
    agents = {"NEXUS_AGENTS": "tests.support.healing_agents"}
    installation = install(own_rabbitmq.url, redelivery_after=3, publish_grace=1, relay_interval=0.1)
    installation.environment.update(agents)
    installation.relay()
    installation.worker(concurrency=1)
    program = Supervised(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        log_file=tmp_path / "program.log",
        environment=installation.environment,
        name="program",
    )
    installation.processes.append(program)
    program.start()
    waits = tmp_path / "waiting"
    wait_until(lambda: waits.exists() or not program.running, 90, lambda: f"it to wait: {installation.logs()}")
    assert program.running, program.log()
    database = installation.environment["DATABASE_URL"].rpartition("/")[2]
    FAULTS[fault](postgres, own_rabbitmq, database)
    (tmp_path / "go").touch()
    wait_until(lambda: not program.running, 200, lambda: f"the program to end: {installation.logs()}")
    answers = json.loads(program.log().splitlines()[-1])
    print(fault, answers)
    failed = {place: answer for place, answer in answers.items() if answer.startswith("FAILED")}
    assert set(answers) == {"patient", *PLACES}
    assert failed == {}, installation.logs()
