"""The relay race on plain Celery, set up as its documentation advises for tasks that must not be lost."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import celery
import django
from celery import Celery
from kombu.entity import Queue

from bench.apps.load import offer
from bench.apps.relay import agent_of, first_leg, handle_leg, report, send_race, wait_for_go, wait_for_handled

WITH_RESULTS = "BENCH_RESULTS" in os.environ

app = Celery("relay", broker=os.environ["BROKER_URL"])
if WITH_RESULTS:
    app.config_from_object("django.conf:settings", namespace="CELERY")
    django.setup()
app.conf.update(
    task_queues=[Queue("relay", queue_arguments={"x-queue-type": "quorum"})],  # type: ignore[no-untyped-call]
    task_default_queue="relay",
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=int(os.environ.get("BENCH_PREFETCH", "64")),
    task_serializer="json",
    task_ignore_result=not WITH_RESULTS,
)


def _run(body: dict[str, Any]) -> None:
    following = handle_leg(body)
    if following is not None:
        TASKS[agent_of(following["leg"])].apply_async((following,))


TASKS: dict[str, Any] = {name: app.task(name=name)(_run) for name in ("ping", "pong")}


def _send(first: int, conversations: int, legs: int) -> None:
    for number in range(first, first + conversations):
        TASKS["ping"].apply_async((first_leg(number, legs),))


def _single() -> None:
    """Send tasks one by one; each call returns when RabbitMQ confirmed."""
    total = int(sys.argv[2])
    TASKS["ping"].apply_async((first_leg(0, 1),))
    wait_for_go()
    started = time.monotonic_ns()
    _send(0, total, 1)
    now = time.monotonic_ns()
    report({"started": started, "returned": now, "confirmed": now})


def _load() -> None:
    """Offer tasks at a rate."""
    rate, seconds = int(sys.argv[2]), float(sys.argv[3])
    wait_for_go()

    def send(number: int) -> None:
        if number >= 0:
            TASKS["ping"].apply_async((first_leg(number, 1),))

    report({"began": offer(rate, seconds, send)})


def _group() -> None:
    """Send a group of 100 tasks, wait until all were handled, and again."""
    times = int(sys.argv[2])
    wait_for_go()
    started = []
    for number in range(times):
        started.append(time.monotonic_ns())
        celery.group(TASKS["ping"].s(first_leg(number, 1)) for _ in range(100)).apply_async()
        wait_for_handled((number + 1) * 100)
    report({"started": started})


if __name__ == "__main__":
    if sys.argv[1] == "race":
        send_race(_send)
    else:
        {"single": _single, "load": _load, "group": _group}[sys.argv[1]]()
