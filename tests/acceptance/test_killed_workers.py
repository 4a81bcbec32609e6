"""Workers are killed by kill -9; everything is handled exactly once, in order. On RabbitMQ and PostgreSQL.

RACE_FULL_SIZE=1 runs the load test at its full size: 20,000 messages over 200 workflows, a kill every 3 s.
"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.acceptance.conftest import Install
from tests.support import fault_points, proctree
from tests.support.installation import Repeatedly
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
FULL_SIZE = os.environ.get("RACE_FULL_SIZE") == "1"


@pytest.mark.parametrize("pool", ["child", "worker"])
def test_killed_at_every_point_of_its_life(install: Install, rabbitmq_url: str, tmp_path: Path, pool: str) -> None:
    """Before and after commit, publish, confirm and acknowledgement."""
    tokens = tmp_path / "tokens"
    fault_points.make_tokens(tokens, fault_points.POINTS, 1)
    installation = install(
        rabbitmq_url, redelivery_after=3, publish_grace=1, environment={"FAULT_TOKENS": str(tokens), "FAULT_KILLS": pool}
    )
    installation.relay(FAULT_TOKENS="")
    installation.environment["FAULT_TOKENS"] = ""
    installation.program("race", "30", "30")
    installation.worker(FAULT_TOKENS=str(tokens))
    installation.wait_processed(900, 120)
    installation.assert_handled_once_in_order(900)
    assert fault_points.tokens_left(tokens) == []


@pytest.mark.timeout(600 if FULL_SIZE else 180)
def test_killed_under_load(install: Install, rabbitmq_url: str) -> None:
    """Whole workers and single pool processes, at any moment."""
    workflows, legs, pause = (200, 100, 3.0) if FULL_SIZE else (100, 40, 0.7)
    installation = install(rabbitmq_url, redelivery_after=5, publish_grace=1, max_attempts=50)
    installation.relay()
    workers = [installation.worker(concurrency=1) for _ in range(2)]
    for worker in workers:
        worker.wait_for_log("ready", 60)
    choice = random.Random(7)

    def kill(number: int) -> None:
        worker = workers[number % 2]
        children = worker.children() if worker.running else []
        if children and choice.random() < 0.5:
            proctree.send(choice.choice(children), signal.SIGKILL)
        else:
            worker.kill()

    with Repeatedly(pause, kill) as kills:
        installation.program("race", str(workflows), str(legs))
        seconds = installation.wait_processed(workflows * legs, 500 if FULL_SIZE else 150)
    installation.assert_handled_once_in_order(workflows * legs)
    assert kills.times >= 2
    print(f"{workflows * legs} messages in {seconds:.1f} s with {kills.times} kills")


def test_a_message_that_kills_its_whole_worker_takes_no_innocent_with_it(install: Install, rabbitmq_url: str) -> None:
    installation = install(rabbitmq_url, max_attempts=3, redelivery_after=5, publish_grace=1)
    installation.program("killer", "100")
    installation.relay()
    worker = installation.worker(concurrency=1)
    installation.wait_processed(100, 120)

    wait_until(lambda: installation.states()["dead"] == 1, 100, lambda: f"the killer to be dead. {installation.logs()}")
    letters = installation.query("SELECT agent, reason FROM nexus_dead_letter")
    assert letters == [("killer", "crash_loop")]
    handled = Counter(row[0] for row in installation.query("SELECT delivery FROM tests_ledger"))
    assert len(handled) == 100
    assert set(handled.values()) == {1}
    calls = [attempt for attempt in installation.attempts() if attempt[1] == "killer"]
    assert 3 <= len(calls) <= 5, "its attempts, and once in the batch before anybody suspected it"
    assert worker.starts >= 4
