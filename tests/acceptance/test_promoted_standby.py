"""PostgreSQL's machine is lost in mid-run and its standby promoted: nothing that was told to be stored is lost.

docs/operations.md, *A standby*, is what an operator does. No process of Nexus is started again.
"""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from messaging.testing.servers.nodes import PostgresNode, StandbyNode
from messaging.testing.servers.processes import Supervised
from messaging.testing.servers.waiting import wait_until
from tests.support.installation import Installation, migrated_database
from tests.support.services import require

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

RACES, LEGS = 20, 20
ENOUGH = 30
DATABASE = "nexus"
TOLD = "SELECT message_id, count(*) FROM nexus_delivery d JOIN tests_ledger l ON l.delivery = d.id::text GROUP BY 1"


@pytest.fixture
def primary() -> Iterator[PostgresNode]:
    require(PostgresNode)
    with PostgresNode() as node:
        yield node


@pytest.fixture
def installation(
    primary: PostgresNode, project_environment: dict[str, str], rabbitmq_url: str, tmp_path: Path
) -> Iterator[Installation]:
    variables = {**project_environment, "SECRET_KEY": secrets.token_hex(32), "BROKER_URL": rabbitmq_url}
    variables["DATABASE_URL"] = migrated_database(primary, DATABASE, variables)
    variables |= {"RACE_TOLD": str(tmp_path / "told"), "RACE_STOP": str(tmp_path / "stop")}
    (tmp_path / "told").touch()
    with Installation(tmp_path, variables, redelivery_after=3, publish_grace=1, relay_interval=0.1) as made:
        yield made


def told(installation: Installation) -> list[str]:
    """The ids of messages that ``send`` returned, in order."""
    return Path(installation.environment["RACE_TOLD"]).read_text().splitlines()


def sender(installation: Installation) -> Supervised:
    process = Supervised(
        [sys.executable, "-m", "tests.support.race", "steady"],
        log_file=installation.folder / "sender.log",
        environment=installation.environment,
        name="sender",
    )
    installation.processes.append(process)
    return process.start()


def test_the_primary_is_lost_and_the_standby_promoted(primary: PostgresNode, installation: Installation) -> None:
    with StandbyNode(primary) as standby:
        installation.environment["DATABASE_URL"] = standby.url_of_both(DATABASE)
        processes = [installation.relay(keep=False), installation.worker(keep=False), sender(installation)]
        processes[1].wait_for_log("ready", 90)
        installation.program("race", str(RACES), str(LEGS))

        def in_mid_run() -> bool:
            return len(told(installation)) > ENOUGH and installation.states()["processed"] > RACES * LEGS // 8

        wait_until(in_mid_run, 90, lambda: f"it to be in mid-run: {installation.logs()}")
        primary.kill()
        began, stored = time.monotonic(), len(told(installation))
        standby.promote()
        promoted = time.monotonic() - began
        handled = installation.states()["processed"]

        def goes_on() -> bool:
            return installation.states()["processed"] > handled and len(told(installation)) > stored

        wait_until(goes_on, 90, lambda: f"it to go on: {installation.logs()}", ignoring=(psycopg.Error,))
        seconds = time.monotonic() - began
        wait_until(lambda: len(told(installation)) > stored + ENOUGH, 90, lambda: f"sending: {installation.logs()}")
        Path(installation.environment["RACE_STOP"]).touch()
        assert processes[2].wait(60) == 0, processes[2].log()

        # What the log holds may be more than what was told: whoever got an error cannot know.
        ((count,),) = installation.query("SELECT count(*) FROM nexus_delivery")
        installation.wait_processed(count, 120)
        installation.assert_handled_once_in_order(count)
        times = {str(message): times for message, times in installation.query(TOLD)}
        lost = [message for message in told(installation) if times.get(message) != 1]
        assert lost == []
        installation.run_command("nexus_verify")
        assert [process.starts for process in processes] == [1, 1, 1]
        assert processes[0].running
        assert processes[1].running
        print(
            f"{stored} told before the kill, {len(told(installation))} in all; {handled} of {count} handled; "
            f"promoted after {promoted:.2f} s, handling and sending went on after {seconds:.2f} s"
        )
