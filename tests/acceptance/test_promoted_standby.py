"""PostgreSQL's machine is lost in mid-run and its standby promoted: nothing that was told to be stored is lost.

docs/operations.md, *A standby of the database*, is what an operator does. No process of Nexus is started again.
RACE_FULL_SIZE=1 has more messages, and an asynchronous standby too, which does lose some.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from messaging.testing.servers.nodes import PostgresNode, StandbyNode
from messaging.testing.servers.processes import Supervised
from messaging.testing.servers.waiting import wait_until
from tests.support.installation import Installation, migrated_database
from tests.support.services import require

pytestmark = [pytest.mark.whole, pytest.mark.slow, pytest.mark.timeout(300)]

FULL_SIZE = os.environ.get("RACE_FULL_SIZE") == "1"
RACES, LEGS = (60, 150) if FULL_SIZE else (20, 40)
BEFORE = 10
ENOUGH = 200 if FULL_SIZE else 10
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
        [sys.executable, "-m", "tests.support.race", "steady", str(RACES), str(LEGS)],
        log_file=installation.folder / "sender.log",
        environment=installation.environment,
        name="sender",
    )
    installation.processes.append(process)
    return process.start()


def start(installation: Installation) -> list[Supervised]:
    """Start everybody, and wait until all are in the midst of their work."""
    processes = [installation.relay(keep=False), installation.worker(keep=False)]
    processes[1].wait_for_log("ready", 90)
    processes.append(sender(installation))

    def in_mid_run() -> bool:
        return len(told(installation)) > BEFORE and installation.states()["processed"] > RACES * LEGS // 10

    wait_until(in_mid_run, 90, lambda: f"it to be in mid-run: {installation.logs()}")
    return processes


def wait_told(installation: Installation, count: int) -> None:
    wait_until(lambda: len(told(installation)) >= count, 90, lambda: f"{count} to be told: {installation.logs()}")


def end_sending(installation: Installation) -> None:
    Path(installation.environment["RACE_STOP"]).touch()
    assert installation.processes[2].wait(60) == 0, installation.processes[2].log()


def expected(installation: Installation) -> int:
    """How many deliveries there are when the races are over; nobody sends any more."""
    ((steady,),) = installation.query("SELECT count(*) FROM nexus_delivery WHERE agent = 'sink'")
    return RACES * LEGS + int(steady)


def not_handled_once(installation: Installation) -> list[str]:
    times = {str(message): times for message, times in installation.query(TOLD)}
    return [message for message in told(installation) if times.get(message) != 1]


def test_the_primary_is_lost_and_the_standby_promoted(primary: PostgresNode, installation: Installation) -> None:
    with StandbyNode(primary) as standby:
        standby.follow()
        installation.environment["DATABASE_URL"] = standby.url_of_both(DATABASE)
        processes = start(installation)
        primary.kill()
        stored = len(told(installation))
        processes[0].wait_for_log("session is read-only", 60)  # relay and worker have met the standby as one
        processes[1].wait_for_log("session is read-only", 60)
        began = time.monotonic()
        standby.promote()
        promoted = time.monotonic() - began
        handled = installation.states()["processed"]

        def goes_on() -> bool:
            return installation.states()["processed"] > handled and len(told(installation)) > stored

        wait_until(goes_on, 90, lambda: f"it to go on: {installation.logs()}")
        seconds = time.monotonic() - began
        wait_told(installation, stored + ENOUGH)
        end_sending(installation)

        # What the log holds may be more than what was told: whoever got an error cannot know.
        count = expected(installation)
        installation.wait_processed(count, 120)
        installation.assert_handled_once_in_order(count)
        assert not_handled_once(installation) == []
        installation.run_command("nexus_verify")
        assert [process.starts for process in processes] == [1, 1, 1]
        assert processes[0].running
        assert processes[1].running
        print(
            f"{stored} told before the kill, {len(told(installation))} in all; {handled} of {count} handled before the "
            f"promotion, which took {promoted:.2f} s; handling and sending went on {seconds:.2f} s after its begin"
        )


@pytest.mark.skipif(not FULL_SIZE, reason="only with RACE_FULL_SIZE=1")
def test_an_asynchronous_standby_loses_what_it_had_not_got(primary: PostgresNode, installation: Installation) -> None:
    """It shows that the other test would see a loss. What is left is handled once; what only RabbitMQ has is told."""
    with StandbyNode(primary) as standby:
        standby.follow(synchronous=False)
        installation.environment["DATABASE_URL"] = standby.url_of_both(DATABASE)
        start(installation)
        standby.kill()
        wait_told(installation, len(told(installation)) + ENOUGH)
        primary.kill()
        standby.start()
        standby.promote()
        wait_told(installation, len(told(installation)) + ENOUGH)
        end_sending(installation)
        count = expected(installation)
        installation.wait_processed(count, 120)
        lost = not_handled_once(installation)
        letters = Counter(reason for (reason,) in installation.query("SELECT reason FROM nexus_dead_letter"))
        print(f"{len(lost)} of {len(told(installation))} told are lost; dead letters: {letters}")
        assert len(lost) >= ENOUGH // 2
        assert set(letters) <= {"unknown_delivery"}
        assert installation.query("SELECT delivery FROM tests_ledger GROUP BY 1 HAVING count(*) > 1") == []


def test_a_commit_waits_for_a_standby_that_is_silent_whatever_statement_timeout_says(primary: PostgresNode) -> None:
    """Otherwise it would be told as stored while only one machine has it."""
    with StandbyNode(primary) as standby, ThreadPoolExecutor(1) as thread:
        standby.follow()
        connection = psycopg.connect(primary.url(), options="-c statement_timeout=300")
        connection.execute("CREATE TABLE t AS SELECT 1 AS n")
        standby.suspend()
        commit = thread.submit(connection.commit)
        waiting = "SELECT wait_event FROM pg_stat_activity WHERE pid = %s AND now() - state_change > interval '1 s'"
        with psycopg.connect(primary.url(), autocommit=True) as other:
            pid = connection.info.backend_pid
            wait_until(lambda: other.execute(waiting, [pid]).fetchall() == [("SyncRep",)], 60, "it to wait")
        assert not commit.done()
        standby.resume()
        commit.result(60)
        connection.close()
