"""What programs do in tests with real processes: ``python -m tests.support.race <what> …``.

prepare                  migrate the database and make the ledger's table
race WORKFLOWS LEGS      start relay races
sink COUNT               send so many messages to "sink", each in a workflow of its own
killer INNOCENTS         send one to "killer" in the midst of innocents to "sink"
sagas COUNT              start so many sagas that move money (see saga_agents)
conversation             open a conversation of ten messages in a view (see tracing_agents)
metrics                  get /metrics as Prometheus does, and write it
transfers COUNT          make so many transfers between two databases, 60 at a time at most (see two_phase_agents)
steady WORKFLOWS LEGS    start relay races, then send to "sink" until there is a file RACE_STOP; note ids in RACE_TOLD
latency COUNT            send one by one in a view of Django and write the seconds of each request
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from uuid import UUID

import django


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nexus_site.settings")
    django.setup()
    what, *arguments = sys.argv[1:]
    PROGRAMS[what](*map(int, arguments))


def _prepare() -> None:
    from django.core.management import call_command

    from tests.support import ledger

    call_command("migrate", verbosity=0)
    ledger.create_table()


def _start(workflows: int) -> list[UUID]:
    from messaging.api import ReliableCommunicationBus

    bus = ReliableCommunicationBus()
    bus.register_agent("web")
    return [bus.start_workflow(f"race {number}") for number in range(workflows)]


def _send(recipients: list[str], data: object) -> None:
    from messaging.api import Outgoing, ReliableCommunicationBus

    bus = ReliableCommunicationBus()
    bus.send_many(
        [
            Outgoing(workflow_id=workflow, source="web", recipient=recipient, type="race.leg", data=data)
            for workflow, recipient in zip(_start(len(recipients)), recipients, strict=True)
        ]
    )
    bus.close()


def start_race(workflows: int, legs: int) -> None:
    _send(["ping"] * workflows, {"leg": 1, "legs": legs, "text": "hello " * 30})


def _sink(count: int) -> None:
    _send(["sink"] * count, None)


def _killer(innocents: int) -> None:
    half = innocents // 2
    _send([*["sink"] * half, "killer", *["sink"] * (innocents - half)], None)


def _sagas(count: int) -> None:
    from django.db import transaction

    from messaging.api import ReliableCommunicationBus, Sagas
    from tests.support.saga_agents import PAYMENTS, create_table

    create_table()
    bus = ReliableCommunicationBus()
    sagas = Sagas(bus)
    for start in range(0, count, 10):
        with transaction.atomic():
            for number in range(start, min(start + 10, count)):
                sagas.start(PAYMENTS, {"number": number})
    bus.close()


def _transfers(count: int) -> None:
    from messaging.api import ReliableCommunicationBus
    from messaging.models import OPEN_TWO_PHASE, TwoPhaseRun
    from messaging.testing.servers.waiting import wait_until
    from tests.support.two_phase_agents import TRANSFER

    open_runs = TwoPhaseRun.objects.filter(status__in=OPEN_TWO_PHASE)
    bus = ReliableCommunicationBus()
    for number in range(count):
        if number % 10 == 0:  # what waits too long for its turn is aborted, which proves little
            wait_until(lambda: open_runs.count() < 50, 120, "transfers to end", interval=0.05)
        TRANSFER.start(bus, {"number": number})
    bus.close()


def _latency(count: int) -> None:
    from django.http import HttpRequest, HttpResponse
    from django.test import Client
    from django.urls import path

    from messaging.api import ReliableCommunicationBus
    from nexus_site import urls

    bus = ReliableCommunicationBus()
    (workflow,) = _start(1)

    def view(request: HttpRequest) -> HttpResponse:
        bus.send(workflow, "sink", "race.leg", sender="web")
        return HttpResponse("sent")

    urls.urlpatterns.append(path("tests/send/", view))
    client = Client()
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        assert client.get("/tests/send/").status_code == 200
        seconds.append(time.perf_counter() - began)
    print(json.dumps(seconds))


def _steady(workflows: int, legs: int) -> None:
    """Every other four messages have deduplication ids and are sent until that succeeds; the rest is tried once."""
    from django.db import Error as DatabaseError

    from messaging.api import ReliableCommunicationBus
    from messaging.testing.servers.waiting import wait_until

    bus = ReliableCommunicationBus()
    start_race(workflows, legs)
    own = _start(4)
    stop, pause = Path(os.environ["RACE_STOP"]), threading.Event()

    def send(number: int, key: str | None) -> str:
        sent = bus.send(own[number % 4], "sink", "race.leg", sender="web", deduplication_id=key)
        return str(sent.id)

    with Path(os.environ["RACE_TOLD"]).open("a", buffering=1) as told:
        for number in itertools.count():
            if stop.exists():
                break
            if number % 8 < 4:
                key = f"steady {number}"
                identifier = wait_until(
                    partial(send, number, key), 90, f"{key} to be stored", interval=0.1, ignoring=(DatabaseError,)
                )
                told.write(f"{identifier}\n")
            else:
                with suppress(DatabaseError):  # whether it is stored nobody knows
                    told.write(f"{send(number, None)}\n")
            pause.wait(0.02)
    bus.close()


def _conversation() -> None:
    from django.http import HttpRequest, HttpResponse
    from django.test import Client
    from django.urls import path

    from messaging.api import ReliableCommunicationBus
    from messaging.core import tracing
    from nexus_site import urls

    bus = ReliableCommunicationBus()
    (workflow,) = _start(1)

    def view(request: HttpRequest) -> HttpResponse:
        bus.send(workflow, "desk", "talk.said", {"text": "Hello", "said": 1}, sender="web")
        return HttpResponse("sent")

    urls.urlpatterns.append(path("tests/send/", view))
    assert Client().post("/tests/send/").status_code == 200
    bus.close()
    tracing.flush(5.0)


def _metrics() -> None:
    from django.test import Client

    answer = Client().get("/metrics", headers={"authorization": f"Bearer {os.environ['NEXUS_METRICS_TOKEN']}"})
    assert answer.status_code == 200, answer.content
    print(answer.content.decode())


PROGRAMS: dict[str, Callable[..., None]] = {
    "prepare": _prepare,
    "race": start_race,
    "sink": _sink,
    "killer": _killer,
    "sagas": _sagas,
    "transfers": _transfers,
    "steady": _steady,
    "latency": _latency,
    "conversation": _conversation,
    "metrics": _metrics,
}

if __name__ == "__main__":
    main()
