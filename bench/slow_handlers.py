"""What ``send`` takes beside slow handlers: ``python -m bench.slow_handlers [SECONDS]``.

40 workflows have messages for a transactional agent that sleeps, and for a quick one. Meanwhile one thread sends to the
quick agent in workflows of its own, another to the same agent in the 40. Private PostgreSQL and RabbitMQ, one worker
with two processes, one relay.
"""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from uuid import UUID

import django

from bench.paths import ROOT
from bench.progress import say
from messaging.testing.servers.nodes import PostgresNode, RabbitMQNode
from messaging.testing.servers.processes import Supervised

WORKFLOWS = 40
SLEEPS = (0.0, 0.2, 1.0, 6.0)
"""Seconds that the handler sleeps; 0 is the ground to compare with."""
PAUSE = 0.02
"""Seconds between two sends of a thread."""


def main(seconds: float) -> None:
    """Measure each sleep and print a row for it."""
    with ExitStack() as stack:
        rabbitmq, postgres = stack.enter_context(RabbitMQNode()), stack.enter_context(PostgresNode())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ |= {
            "SECRET_KEY": secrets.token_hex(32),
            "BROKER_URL": rabbitmq.url,
            "DATABASE_URL": postgres.create_database("slow"),
            "NEXUS_DATA_DIR": str(folder),
            "NEXUS_AGENTS": "bench.apps.slow_agents",
            "DJANGO_SETTINGS_MODULE": "nexus_site.settings",
            "PYTHONPATH": str(ROOT),
        }
        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        worker = ["-m", "celery", "-A", "nexus_site", "worker", "-P", "prefork", "-c", "2", "-l", "info"]
        for name, arguments in (("worker", worker), ("relay", ["manage.py", "nexus_relay"])):
            process = Supervised(
                [sys.executable, *arguments],
                log_file=folder / f"{name}.log",
                environment=dict(os.environ),
                name=name,
            )
            process.start()
            stack.callback(process.stop)
            if name == "worker":
                process.wait_for_log("ready", 60)
        say("ms: sleep | innocent workflows: sends, p50, p99, most | the same workflows: sends, p50, p99, most")
        for sleep in SLEEPS:
            say(f"{sleep:>5} s | " + " | ".join(row(taken) for taken in measure(sleep, seconds)))


def measure(sleep: float, seconds: float) -> list[list[float]]:
    """Seconds of each send to innocent workflows, and of each to those whose handlers sleep."""
    from messaging.api import Outgoing, ReliableCommunicationBus

    bus = ReliableCommunicationBus()
    bus.register_agent("web")
    slow, innocent = ([bus.start_workflow("slow handlers") for _ in range(WORKFLOWS)] for _ in range(2))
    burst = int(seconds / max(sleep, 0.1) / WORKFLOWS) + 1
    bus.send_many(
        [
            Outgoing(workflow_id=workflow, source="web", recipient=agent, type="bench.slow", data={"seconds": sleep})
            for _ in range(burst)
            for workflow in slow
            for agent in ("sleeper", "quick")
        ]
    )
    ends = monotonic() + seconds
    taken: list[list[float]] = [[], []]
    threads = [
        threading.Thread(target=send, args=(workflows, ends, into))
        for workflows, into in zip((innocent, slow), taken, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for workflow in slow:
        bus.cancel_workflow(workflow, "measured")
    return taken


def send(workflows: Sequence[UUID], ends: float, taken: list[float]) -> None:
    """Send to each workflow in turn until the time is over."""
    from django.db import connection

    from messaging.api import ReliableCommunicationBus

    bus, pause, number = ReliableCommunicationBus(), threading.Event(), 0
    while monotonic() < ends:
        began = monotonic()
        bus.send(workflows[number % len(workflows)], "quick", "bench.slow", {}, sender="web")
        taken.append(monotonic() - began)
        number += 1
        pause.wait(PAUSE)
    connection.close()


def row(taken: Sequence[float]) -> str:
    """How many, p50, p99 and the greatest, in milliseconds."""
    ordered = sorted(taken)
    chosen = (ordered[int((len(ordered) - 1) * share)] * 1e3 for share in (0.5, 0.99, 1.0))
    return f"{len(ordered):>5} {' '.join(f'{value:8.1f}' for value in chosen)}"


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 20.0)
