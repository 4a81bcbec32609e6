"""Old and new code side by side: a migration while messages flow, workers of both, then of either. On real servers.

What is new is in ``tests.support.newer_code``; what is old is the code as it is. RACE_FULL_SIZE=1 takes
the deployment back too.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from messaging.testing.servers.processes import Supervised
from messaging.testing.servers.waiting import wait_until
from tests.acceptance.conftest import Install
from tests.support.installation import Installation

pytestmark = [pytest.mark.whole, pytest.mark.slow, pytest.mark.timeout(240)]

FULL_SIZE = os.environ.get("RACE_FULL_SIZE") == "1"
RACES, LEGS = 8, 15
PART = RACES * LEGS
MIGRATION = "ALTER TABLE nexus_message ADD COLUMN tone varchar(20)"


def seen(file: Path) -> Counter[tuple[str, str]]:
    """(header, column) of what the new code handled."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return Counter((came, stored) for came, stored in map(str.split, lines))


def test_a_column_and_a_header_that_old_workers_do_not_know(
    install: Install, rabbitmq_url: str, tmp_path: Path
) -> None:
    # The newer code writes its rows by itself, before anything could go onward.
    installation = install(
        rabbitmq_url,
        redelivery_after=3,
        publish_grace=1,
        relay_interval=0.1,
        batch_size=5,
        local_delivery="apart",
    )
    file = tmp_path / "seen"
    newer = {
        "NEXUS_AGENTS": f"{installation.environment['NEXUS_AGENTS']},tests.support.newer_code",
        "NEWER_CODE_SEEN": str(file),
    }
    installation.relay()
    old = installation.worker(concurrency=1, keep=False)
    old.wait_for_log("ready", 60)

    # Expand, under load: the old code goes on.
    installation.program("race", str(RACES), str(LEGS))
    with psycopg.connect(installation.environment["DATABASE_URL"], connect_timeout=5) as connection:
        connection.execute("SET lock_timeout = '3s'")
        connection.execute(MIGRATION)
    new = installation.worker(concurrency=1, keep=False, **newer)
    new.wait_for_log("ready", 60)
    installation.wait_processed(PART, 90)

    # Deploy: both at once, each handles what the other sent.
    installation.program("race", str(RACES), str(LEGS))
    installation.wait_processed(2 * PART, 90)
    by_new = seen(file)
    assert by_new[("none", "none")], "the new code handled what the old code sent"
    assert by_new[("calm", "calm")], "… and its own"
    assert sum(by_new.values()) < 2 * PART, "the old code handled something too"

    handled = 2 * PART
    if FULL_SIZE:
        take_back(installation, old, new)
        handled = 3 * PART
    installation.assert_handled_once_in_order(handled)
    tones = dict(installation.query("SELECT coalesce(tone, 'none'), count(*) FROM nexus_message GROUP BY 1"))
    assert tones["calm"] > 0
    assert tones["none"] > 0
    assert "Traceback" not in installation.logs(200_000)
    print(f"new code saw {dict(by_new)}; rows {tones}")


def take_back(installation: Installation, old: Supervised, new: Supervised) -> None:
    """The new code alone; then the old code handles what the new code left."""
    assert old.terminate(40) == 0
    installation.program("race", str(RACES), str(LEGS))
    wait_until(
        lambda: installation.states()["processed"] >= 2 * PART + LEGS, 60, "the new code to work alone", interval=0.02
    )
    assert new.terminate(40) == 0
    old.start()
    installation.wait_processed(3 * PART, 90)
