"""Sagas while workers are killed: every one is completed or fully compensated, and no money is lost or made.

SAGAS=10000 runs as many and kills every 3 s.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter

import pytest

from messaging.testing.servers import proctree
from messaging.testing.servers.waiting import wait_until
from tests.acceptance.conftest import Install
from tests.support.installation import Repeatedly
from tests.support.saga_agents import FAILING, NAMES, TABLE, will_complete

COUNT = int(os.environ.get("SAGAS", "300"))
FULL_SIZE = COUNT > 300
pytestmark = [pytest.mark.slow, pytest.mark.timeout(880 if FULL_SIZE else 150)]


@pytest.mark.whole
def test_every_saga_is_completed_or_compensated_while_workers_are_killed(install: Install, rabbitmq_url: str) -> None:
    count, pause, most = (COUNT, 3.0, 1_000) if FULL_SIZE else (COUNT, 1.5, 4)
    installation = install(rabbitmq_url, redelivery_after=3, publish_grace=1, max_attempts=50, relay_interval=0.1)
    installation.relay()
    workers = [installation.worker(concurrency=1) for _ in range(2)]
    for worker in workers:
        worker.wait_for_log("ready", 60)
    choice = random.Random(11)
    killed: list[str] = []

    def kill(number: int) -> None:
        worker = workers[number % 2]
        children = worker.children() if worker.running else []
        if not children or len(killed) >= most:
            return
        if choice.random() < 0.7:
            proctree.send(choice.choice(children), signal.SIGKILL)
            killed.append("process")
        else:
            worker.kill()
            killed.append("worker")

    def ended() -> bool:
        open_ones = "SELECT count(*) FROM nexus_saga WHERE status NOT IN ('completed', 'compensated')"
        return installation.query(f"SELECT count(*) = {count} AND ({open_ones}) = 0 FROM nexus_saga")[0][0] is True

    def standing() -> str:
        states = installation.query("SELECT status, count(*) FROM nexus_saga GROUP BY status")
        return f"all sagas to end; {states}. {installation.logs()}"

    began = time.monotonic()
    with Repeatedly(pause, kill):
        installation.program("sagas", str(count), timeout=800 if FULL_SIZE else 60)
        wait_until(ended, 840 if FULL_SIZE else 90, standing, interval=0.2)
    seconds = time.monotonic() - began

    rows = installation.query("SELECT id, status, state FROM nexus_saga")
    status = Counter(row[1] for row in rows)
    paid: Counter[tuple[str, str]] = Counter()
    for saga, account, amount in installation.query(f"SELECT saga, account, amount FROM {TABLE}"):
        paid[saga, account] += amount
    for saga, state_of, state in rows:
        number = json.loads(state)["input"]["number"]
        assert state_of == ("completed" if will_complete(number) else "compensated"), number
        expected = 1 if state_of == "completed" else 0
        assert [paid[str(saga), name] for name in NAMES] == [expected] * len(NAMES), (number, state_of)
        assert paid[str(saga), "customer"] == -expected * len(NAMES)
    assert sum(paid.values()) == 0
    done_twice = installation.query(
        f"SELECT saga FROM {TABLE} GROUP BY saga, account, amount HAVING count(*) > 1 AND account <> 'customer'"
    )
    assert done_twice == []
    assert installation.query("SELECT * FROM nexus_timer") == []
    assert installation.query("SELECT * FROM nexus_dead_letter") == []
    assert len(killed) >= 2
    print(
        f"{count} sagas of {len(NAMES)} steps, {FAILING:.0%} failing: {dict(status)} in {seconds:.1f} s "
        f"({count / seconds:.0f} a second); killed: {dict(Counter(killed))}"
    )
