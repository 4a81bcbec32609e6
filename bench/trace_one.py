"""Traces one message at a time, stage by stage: ``python -m bench.trace_one [MESSAGES] [PAUSE]``.

Private PostgreSQL and RabbitMQ, one worker with two processes, one relay. The next message is sent once the one before
it is handled and acknowledged, PAUSE seconds later (0.02 when left out).
"""

from __future__ import annotations

import os
import secrets
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import monotonic_ns

import django

from bench.paths import ROOT
from bench.progress import say
from messaging.testing.servers.nodes import PostgresNode, RabbitMQNode
from messaging.testing.servers.processes import Supervised
from messaging.testing.servers.waiting import wait_until

STAGES = (
    "committed by the sender",
    "taken by the publisher",
    "published",
    "received",
    "through the gate",
    "batch opened",
    "handler started",
    "handler returned",
    "stored",
    "committed by the worker",
    "acknowledged",
    "confirmed",  # beside the others: nobody waits for it
)
LAST = "acknowledged"


def main(messages: int, pause: float) -> None:
    """Trace messages and print a table of medians."""
    with ExitStack() as stack:
        rabbitmq, postgres = stack.enter_context(RabbitMQNode()), stack.enter_context(PostgresNode(durable=True))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        trace = folder / "trace"
        os.environ |= {
            "SECRET_KEY": secrets.token_hex(32),
            "BROKER_URL": rabbitmq.url,
            "DATABASE_URL": postgres.create_database("trace"),
            "NEXUS_DATA_DIR": str(folder),
            "NEXUS_AGENTS": "bench.apps.traced_agents",
            "DJANGO_SETTINGS_MODULE": "nexus_site.settings",
            "PYTHONPATH": str(ROOT),
            "BENCH_TRACE": str(trace),
        }
        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        worker = ["-m", "celery", "-A", "nexus_site", "worker", "-P", "prefork", "-c", "2", "-l", "info"]
        for name, arguments in (("worker", worker), ("relay", ["manage.py", "nexus_relay"])):
            process = Supervised(
                [sys.executable, *arguments],
                log_file=folder / f"{name}.log",
                environment={**os.environ, "BENCH_TRACE_WORKER": "1"} if name == "worker" else dict(os.environ),
                name=name,
            )
            process.start()
            stack.callback(process.stop)
            if name == "worker":
                process.wait_for_log("ready", 60)
        _show(list(_traced(trace, messages, pause)))


def _traced(trace: Path, messages: int, pause: float) -> Iterator[dict[str, float]]:
    """Milliseconds from the call of ``send`` to each stage, message by message."""
    from bench.apps.traced_agents import note, trace_sender
    from messaging.api import ReliableCommunicationBus

    bus = ReliableCommunicationBus()
    bus.register_agent("web")
    trace_sender()
    workflow, waiter = bus.start_workflow("trace"), threading.Event()
    for number in range(-20, messages):  # the first are not counted: connections are made, statements prepared
        done = _count(trace)
        began = monotonic_ns()
        note("sending")
        bus.send(workflow, "traced", "trace.message", sender="web")
        expected = done + 1
        wait_until(partial(_reached, trace, expected), 20, "the message to be handled", interval=0.003)
        waiter.wait(pause)
        if number < 0:
            continue
        first: dict[str, float] = {}
        for line in trace.read_text().splitlines():
            moment, _, stage = line.partition(" ")
            if int(moment) >= began:
                first.setdefault(stage, (int(moment) - began) / 1e6)
        yield first


def _reached(trace: Path, expected: int) -> bool:
    return _count(trace) >= expected


def _count(trace: Path) -> int:
    return trace.read_text().count(LAST) if trace.exists() else 0


def _show(traced: Sequence[dict[str, float]]) -> None:
    say(f"{len(traced)} messages; ms: stage | from send to it: p50, p90 | from the stage before: p50, p90")
    before = [0.0] * len(traced)
    for stage in STAGES:
        at = [found.get(stage, float("nan")) for found in traced]
        taken = [here - there for here, there in zip(at, before, strict=True)]
        say(f"{stage:>24} | {_quantiles(at)} | {_quantiles(taken)}")
        before = at if stage != LAST else [found["published"] for found in traced]


def _quantiles(values: Sequence[float]) -> str:
    tenths = statistics.quantiles(values, n=10)
    return f"{tenths[4]:7.2f} {tenths[8]:7.2f}"


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 200,
        float(sys.argv[2]) if len(sys.argv) > 2 else 0.02,
    )
