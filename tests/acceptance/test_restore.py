"""Backup and restore, rehearsed: the database goes back to a point, the broker does not. On PostgreSQL and RabbitMQ.

docs/operations.md, *Backup and restore*, is what an operator does; the test does the same. RACE_FULL_SIZE=1 uses
the commands for the rest too, and goes on afterwards.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path

import pytest

from messaging.testing.servers.nodes import PostgresNode
from messaging.testing.servers.processes import Supervised
from messaging.testing.servers.waiting import wait_until
from tests.acceptance.conftest import Install
from tests.support.installation import Installation

pytestmark = [pytest.mark.whole, pytest.mark.slow, pytest.mark.timeout(240)]

FULL_SIZE = os.environ.get("RACE_FULL_SIZE") == "1"
RACES, LEGS, AFTER, SIGNED_LATER = 6, 50, 15, 5
KNOWN = RACES * LEGS


def name_of(installation: Installation) -> str:
    return installation.environment["DATABASE_URL"].rpartition("/")[2]


def wait_states(installation: Installation, timeout: float = 60.0, **expected: int) -> None:
    wait_until(
        lambda: {state: installation.states()[state] for state in expected} == expected,
        timeout,
        lambda: f"{expected}: {dict(installation.states())} {installation.logs()}",
        interval=0.1,
    )


def end(*processes: Supervised) -> None:
    for process in processes:
        assert process.terminate(40) == 0


def test_the_database_goes_back_and_the_broker_does_not(
    install: Install, postgres: PostgresNode, rabbitmq_url: str, tmp_path: Path
) -> None:
    installation = install(rabbitmq_url, redelivery_after=3, publish_grace=0.5, relay_interval=0.1)
    relay, worker = installation.relay(keep=False), installation.worker(concurrency=1, keep=False)
    worker.wait_for_log("ready", 60)

    # At the point: conversations in their middle, with messages that are on the broker and not handled.
    worker.suspend()  # it would be done before the program that sends has ended
    installation.program("race", str(RACES), str(LEGS))
    worker.resume()
    wait_until(lambda: installation.states()["processed"] >= RACES, 60, "the races to go on", interval=0.01)
    worker.suspend()
    postgres.dump(name_of(installation), tmp_path / "nexus.dump")
    worker.resume()

    # Work goes on: all of that is handled, and more messages come, of which the broker keeps copies.
    wait_states(installation, processed=KNOWN)
    end(worker)
    installation.program("sink", str(AFTER))
    wait_states(installation, processed=KNOWN, sent=AFTER)
    strangers = {("unknown_delivery", "sink", None, None, "open"): AFTER}
    if FULL_SIZE:  # some are signed with a key that the backup does not know
        installation.run_command("nexus_keys", "rotate")
        installation.program("sink", str(SIGNED_LATER))
        wait_states(installation, processed=KNOWN, sent=AFTER + SIGNED_LATER)
        strangers["not_authentic", "sink", None, None, "open"] = SIGNED_LATER

    # The database is lost. Everything is stopped, the backup restored, and everything is started.
    end(relay)
    postgres.restore(name_of(installation), tmp_path / "nexus.dump")
    assert RACES <= installation.states()["processed"] < KNOWN
    began = time.monotonic()
    relay.start()
    worker.start()
    wait_states(installation, processed=KNOWN)
    wait_until(lambda: letters(installation) == strangers, 60, lambda: f"dead letters: {letters(installation)}")

    # What the restored log knows is handled once and in order; what only the broker knew is told apart, and kept.
    print(f"{KNOWN} handled, {sum(strangers.values())} told apart {time.monotonic() - began:.1f} s after the start")
    assert installation.states() == {"processed": KNOWN}
    ledger = installation.query("SELECT delivery FROM tests_ledger")
    assert len(ledger) == len(set(ledger)) == KNOWN
    assert "Traceback" not in installation.logs(200_000)
    assert installation.query("SELECT count(*) FROM nexus_workflow WHERE status = 'parked'") == [(0,)]
    if FULL_SIZE:
        go_on(installation)


def go_on(installation: Installation) -> None:
    """More messages, and the list is looked at and cleared."""
    installation.run_command("nexus_verify")
    groups = json.loads(installation.run_command("nexus_dead_letters", "groups", "--json"))
    assert sum(one["count"] for one in groups) == AFTER + SIGNED_LATER
    installation.program("sink", "5")
    wait_states(installation, processed=KNOWN + 5)
    installation.run_command("nexus_discard", "--reason", "unknown_delivery", "--because", "restored", "--yes")
    states = Counter(letter[-1] for letter in letters(installation).elements())
    assert states == {"discarded": AFTER, "open": SIGNED_LATER}


def letters(installation: Installation) -> Counter[tuple[object, ...]]:
    return Counter(installation.query("SELECT reason, agent, delivery_id, workflow_id, status FROM nexus_dead_letter"))
