"""Wild messages against a real installation: ``python -m tests.support.wire_fuzz_run SECONDS [SEED]``.

Publishes to every queue that a worker or the relay reads, with innocents in between, then says what became of each.
"""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from collections import Counter
from pathlib import Path
from time import monotonic

import django
from hypothesis import HealthCheck, Phase, given, seed, settings

from messaging.brokers import create_broker
from messaging.testing.servers.nodes import PostgresNode, RabbitMQNode
from messaging.testing.servers.waiting import wait_until
from tests.support.installation import Installation, migrated_database
from tests.support.paths import ROOT
from tests.support.wire_fuzz import RawPublisher, WildMessage, wild_messages

QUEUES = ("nexus.transactional", "nexus.leased", "nexus.dead", "nexus.tasks")
INNOCENTS = 20
PATIENCE = 60.0


def main(seconds: float, first_seed: int) -> None:
    """Run it and print the account."""
    with RabbitMQNode() as rabbitmq, PostgresNode() as postgres, tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "SECRET_KEY": secrets.token_hex(32),
            "BROKER_URL": rabbitmq.url,
            "NEXUS_DATA_DIR": folder,
            "DJANGO_SETTINGS_MODULE": "nexus_site.settings",
            "PYTHONPATH": str(ROOT),
        }
        environment["DATABASE_URL"] = migrated_database(postgres, "fuzz", environment)
        with Installation(Path(folder), environment, redelivery_after=3, publish_grace=1) as installation:
            relay, worker = installation.relay(), installation.worker()
            worker.wait_for_log("ready", 60)
            publish(installation, rabbitmq.url, seconds, first_seed)
            print(f"starts: worker {worker.starts}, relay {relay.starts}")


def publish(installation: Installation, url: str, seconds: float, first_seed: int) -> None:
    """Publish for so long, then wait until everything is accounted for."""
    publisher = RawPublisher(url)
    sent: dict[bytes, tuple[str, bool]] = {}
    refused = innocents = 0
    ends = monotonic() + seconds
    number = first_seed
    while monotonic() < ends:

        @seed(number)
        @settings(
            max_examples=400,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(wild_messages())
        def some(message: WildMessage) -> None:
            nonlocal refused
            queue = QUEUES[len(sent) % len(QUEUES)]
            if monotonic() > ends:
                return
            if publisher.publish(message, queue):
                sent[message.body] = queue, b"messaging.mark" in message.properties
            else:
                refused += 1

        some()
        installation.program("sink", str(INNOCENTS))
        innocents += INNOCENTS
        number += 1
    print(f"seeds {first_seed}..{number - 1}: {len(sent)} accepted by RabbitMQ, {refused} refused by it")
    ours = {body: marker for body, (queue, marker) in sent.items() if queue != "nexus.tasks"}

    def unaccounted() -> list[bytes]:
        letters = {bytes(row[0]) for row in installation.query("SELECT body FROM nexus_dead_letter")}
        return [body for body, marker in ours.items() if body not in letters and not marker]

    try:
        wait_until(lambda: not unaccounted(), PATIENCE, "every input to be accounted for", interval=1.0)
    finally:
        print(f"unaccounted: {len(unaccounted())}, by queue {Counter(sent[body][0] for body in unaccounted())}")
    installation.wait_processed(innocents, PATIENCE)
    reasons = Counter(row[0] for row in installation.query("SELECT reason FROM nexus_dead_letter"))
    unreadable = installation.query("SELECT count(*) FROM nexus_dead_letter WHERE detail LIKE '%cannot be decoded%'")
    print(f"dead letters {dict(reasons)}, {unreadable[0][0]} of them unreadable; {innocents} innocents handled")
    with create_broker(url) as broker:
        print("left on the broker:", {queue: broker.queue_depth(queue) for queue in QUEUES})


if __name__ == "__main__":
    django.setup()
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else secrets.randbelow(10**6))
