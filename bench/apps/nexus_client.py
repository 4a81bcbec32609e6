"""Sends with Nexus, from a Django process: ``race``, ``bulk``, ``single``, ``load`` or ``group``."""

from __future__ import annotations

import os
import sys
import time
from uuid import UUID

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nexus_site.settings")
django.setup()

from django.db import connections  # noqa: E402

from bench.apps.load import offer  # noqa: E402
from bench.apps.nexus_agents import MEMBERS  # noqa: E402
from bench.apps.relay import first_leg, report, send_race, wait_for_go, wait_for_handled  # noqa: E402
from messaging.api import Outgoing, ReliableCommunicationBus  # noqa: E402
from messaging.core.ids import uuid7  # noqa: E402
from messaging.models import Workflow  # noqa: E402
from messaging.transport.background import background_publisher  # noqa: E402

BURST = 1_000
WORKFLOWS = 200
FLUSH_TIMEOUT = 300.0

bus = ReliableCommunicationBus()


def _workflows(count: int) -> list[UUID]:
    """Start workflows; in bulk, for this is not what is measured."""
    made = Workflow.objects.bulk_create([Workflow(id=uuid7(), name="bench") for _ in range(count)], batch_size=5_000)
    return [workflow.pk for workflow in made]


def _first(workflow: UUID, number: int, legs: int, recipient: str = "ping") -> Outgoing:
    return Outgoing(
        workflow_id=workflow, source="web", recipient=recipient, type="race.leg", data=first_leg(number, legs)
    )


def race() -> None:
    """Start the workflows, then send the first message of each, in bursts."""
    workflows = _workflows(int(sys.argv[3]))

    def send(first: int, conversations: int, legs: int) -> None:
        for start in range(0, conversations, BURST):
            burst = range(start, min(start + BURST, conversations))
            bus.send_many([_first(workflows[number], first + number, legs) for number in burst])

    send_race(send)


def bulk() -> None:
    """Send messages with ``send_many``, 1,000 at a time, into 200 workflows."""
    _send_all(BURST)


def single() -> None:
    """Send messages with ``send``, each in a transaction of its own."""
    _send_all(1)


def _send_all(size: int) -> None:
    total = int(sys.argv[2])
    workflows = _workflows(WORKFLOWS)
    bus.send_many([_first(workflows[0], 0, 1)])  # connections are made, statements prepared
    background_publisher().flush(FLUSH_TIMEOUT)
    wait_for_go()
    started = time.monotonic_ns()
    for start in range(0, total, size):
        burst = range(start, min(start + size, total))
        bus.send_many([_first(workflows[number % WORKFLOWS], number, 1) for number in burst])
    returned = time.monotonic_ns()
    background_publisher().flush(FLUSH_TIMEOUT)
    report({"started": started, "returned": returned, "confirmed": time.monotonic_ns()})


def load() -> None:
    """Offer messages at a rate."""
    rate, seconds = int(sys.argv[2]), float(sys.argv[3])
    workflows = _workflows(WORKFLOWS)
    wait_for_go()
    connections.close_all()

    def send(number: int) -> None:
        if number < 0:
            bus.close()
        else:
            bus.send(workflows[number % WORKFLOWS], "ping", "race.leg", first_leg(number, 1), sender="web")

    report({"began": offer(rate, seconds, send)})


def group() -> None:
    """Send one message to a group, wait until every member handled it, and again."""
    times = int(sys.argv[2])
    bus.create_group("everybody")
    for member in MEMBERS:
        bus.add_member("everybody", member)
    workflows = _workflows(times)
    wait_for_go()
    started = []
    for number, workflow in enumerate(workflows):
        started.append(time.monotonic_ns())
        bus.send_many([_first(workflow, number, 1, recipient="everybody")])
        wait_for_handled((number + 1) * len(MEMBERS))
    report({"started": started})


if __name__ == "__main__":
    bus.register_agent("web")
    {"race": race, "bulk": bulk, "single": single, "load": load, "group": group}[sys.argv[1]]()
    bus.close()
