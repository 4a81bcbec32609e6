"""Two real workers on partitioned queues: killed under load, and with another number of partitions in the midst of it.

Heavy: RACE_FULL_SIZE=1 runs it. The default run has it in one process: tests/contract/test_receiving_partitions.py.
"""

from __future__ import annotations

import json
import os
import random
import signal

import pytest

from messaging.testing.servers import proctree
from messaging.testing.servers.waiting import wait_until
from tests.acceptance.conftest import Install
from tests.support.installation import Installation, Repeatedly

pytestmark = [
    pytest.mark.whole,
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(os.environ.get("RACE_FULL_SIZE") != "1", reason="heavy: RACE_FULL_SIZE=1"),
]
WORKFLOWS, LEGS = 60, 20
OPTIONS: dict[str, object] = {
    "local_delivery": "off",
    "redelivery_after": 3,
    "publish_grace": 1,
    "relay_interval": 0.1,
    "max_attempts": 50,
}


def handled_by_each(installation: Installation) -> list[int]:
    """How many each consumer that is at work has handled."""
    rows = installation.query("SELECT outcomes FROM nexus_worker_status WHERE stopped_at IS NULL")
    counts = [row[0] if isinstance(row[0], dict) else json.loads(row[0]) for row in rows]
    return [count.get("processed", 0) for count in counts]


def test_workers_share_and_replace_each_other(install: Install, rabbitmq_url: str) -> None:
    installation = install(rabbitmq_url, queue_partitions=4, **OPTIONS)
    installation.relay()
    workers = [installation.worker(concurrency=1) for _ in range(2)]
    for worker in workers:
        worker.wait_for_log("ready", 60)
    sent = 0

    def shared() -> bool:
        nonlocal sent
        installation.program("race", "8", "2")
        sent += 16
        installation.wait_processed(sent, 60)
        return len(handled_by_each(installation)) == 2 and min(handled_by_each(installation)) > 0

    wait_until(shared, 100, lambda: f"both to handle something. {installation.logs()}", interval=1.0)
    choice = random.Random(11)

    def kill(number: int) -> None:
        """Kill a worker or its process, if it is up."""
        worker = workers[number % 2]
        children = worker.children() if worker.running else []
        if children and number < 8:
            proctree.send(choice.choice(children), signal.SIGKILL) if choice.random() < 0.6 else worker.kill()

    with Repeatedly(2.0, kill):
        installation.program("race", str(WORKFLOWS), str(LEGS))
        seconds = installation.wait_processed(sent + WORKFLOWS * LEGS, 250)
    installation.assert_handled_once_in_order(sent + WORKFLOWS * LEGS)
    print(f"{WORKFLOWS * LEGS} messages in {seconds:.1f} s")


def test_another_number_in_the_midst_of_it(install: Install, rabbitmq_url: str) -> None:
    installation = install(rabbitmq_url, queue_partitions=1, **OPTIONS)
    installation.program("race", str(WORKFLOWS), str(LEGS))
    for number, count in ((1, 100), (4, 400), (2, WORKFLOWS * LEGS)):
        installation.environment["NEXUS_QUEUE_PARTITIONS"] = str(number)
        processes = [installation.relay(), *(installation.worker(concurrency=1) for _ in range(2))]
        installation.wait_processed(count, 150)
        if count < WORKFLOWS * LEGS:
            for process in processes:
                process.stop()
    installation.assert_handled_once_in_order(WORKFLOWS * LEGS)
