"""The relay race on plain Celery, set up as its documentation advises for tasks that must not be lost."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from kombu import Queue

from bench.apps.relay import agent_of, first_leg, handle_leg, send_from_command_line

if os.environ.get("DJANGO_SETTINGS_MODULE"):
    import django

    django.setup()

app = Celery("relay", broker=os.environ["BROKER_URL"])
app.conf.update(
    task_queues=[Queue("relay", queue_arguments={"x-queue-type": "quorum"})],
    task_default_queue="relay",
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=int(os.environ.get("BENCH_PREFETCH", "64")),
    task_serializer="json",
)
if os.environ.get("DJANGO_SETTINGS_MODULE"):
    app.conf.update(result_backend="django-db", task_ignore_result=False)
else:
    app.conf.update(task_ignore_result=True)


def _run(body: dict[str, Any]) -> None:
    following = handle_leg(body)
    if following is not None:
        TASKS[agent_of(following["leg"])].apply_async((following,))


TASKS: dict[str, Any] = {name: app.task(name=name)(_run) for name in ("ping", "pong")}


def _send(first: int, conversations: int, legs: int) -> None:
    for number in range(first, first + conversations):
        TASKS["ping"].apply_async((first_leg(number, legs),))


if __name__ == "__main__":
    send_from_command_line(_send)
