"""Workers are killed by kill -9; everything is handled exactly once, in order. On RabbitMQ and PostgreSQL.

RACE_FULL_SIZE=1 runs the load test at its full size, 20,000 messages over 200 workflows and a kill every 3 s, and kills
whole workers at every point of their life as well.
"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from pathlib import Path

import pytest

from messaging.testing.servers import proctree
from messaging.testing.servers.waiting import wait_until
from tests.acceptance.conftest import Install
from tests.support import fault_points
from tests.support.installation import Installation, Repeatedly
from tests.support.scraping import METRICS, assert_metrics_equal_the_log

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
FULL_SIZE = os.environ.get("RACE_FULL_SIZE") == "1"


def race_past_tokens(
    installation: Installation, tokens: Path, points: tuple[str, ...] = fault_points.POINTS, workflows: int = 30
) -> None:
    """Run a race with a worker that dies of every token."""
    fault_points.make_tokens(tokens, points, 1)
    installation.relay()
    installation.program("race", str(workflows), "30")
    installation.worker(FAULT_TOKENS=str(tokens))
    installation.wait_processed(workflows * 30, 120)
    installation.assert_handled_once_in_order(workflows * 30)
    assert fault_points.tokens_left(tokens) == []
    assert_metrics_equal_the_log(installation, workflows * 30)


QUICK_REPAIR: dict[str, object] = {"redelivery_after": 3, "publish_grace": 1, "relay_interval": 0.1, **METRICS}


@pytest.mark.parametrize("victim", ["child", "worker"] if FULL_SIZE else ["child"])
def test_killed_at_every_point_of_its_life(install: Install, rabbitmq_url: str, tmp_path: Path, victim: str) -> None:
    """Before and after commit, publish, confirm and acknowledgement; what handlers send goes through the broker."""
    installation = install(rabbitmq_url, environment={"FAULT_KILLS": victim}, local_delivery="off", **QUICK_REPAIR)
    race_past_tokens(installation, tmp_path / "tokens")


@pytest.mark.whole
def test_killed_at_every_point_of_its_life_without_servers(install_embedded: Install, tmp_path: Path) -> None:
    race_past_tokens(install_embedded(local_delivery="off", **QUICK_REPAIR), tmp_path / "tokens")


@pytest.mark.whole
def test_killed_at_every_point_of_a_transaction_that_goes_onward(
    install: Install, rabbitmq_url: str, tmp_path: Path
) -> None:
    """After a handler, around the insertion, around the commit: what was handled onward is gone, or all of it there."""
    victims = {"environment": {"FAULT_KILLS": "worker"}} if FULL_SIZE else {}
    installation = install(rabbitmq_url, **QUICK_REPAIR, **victims)
    race_past_tokens(installation, tmp_path / "tokens", fault_points.POINTS_ONWARD, workflows=12)


@pytest.mark.whole
@pytest.mark.timeout(600 if FULL_SIZE else 180)
def test_killed_under_load(install: Install, rabbitmq_url: str) -> None:
    """Whole workers and single pool processes, at any moment."""
    workflows, legs, pause, most = (200, 100, 3.0, 1_000) if FULL_SIZE else (100, 40, 0.5, 8)
    installation = install(rabbitmq_url, redelivery_after=5, publish_grace=1, max_attempts=50)
    installation.relay()
    workers = [installation.worker(concurrency=1) for _ in range(2)]
    for worker in workers:
        worker.wait_for_log("ready", 60)
    choice = random.Random(7)
    killed: list[str] = []

    def kill(number: int) -> None:
        """Kill a worker or one of its processes, if it is up; one that is killed while it starts never works."""
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

    with Repeatedly(pause, kill):
        installation.program("race", str(workflows), str(legs))
        seconds = installation.wait_processed(workflows * legs, 500 if FULL_SIZE else 150)
    installation.assert_handled_once_in_order(workflows * legs)
    assert len(killed) >= 2
    print(f"{workflows * legs} messages in {seconds:.1f} s; killed: {dict(Counter(killed))}")


@pytest.mark.whole
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
