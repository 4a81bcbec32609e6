"""Checks of Celery, which carries operators' tasks."""

from __future__ import annotations

from typing import Any

from celery import current_app
from django.core.checks import CheckMessage, Error

from messaging.checks.settings import readable_settings

PICKLE = {"pickle", "application/x-python-serialize"}


def _on_rabbitmq() -> bool:
    settings = readable_settings()
    return settings is not None and not settings.embedded


def check_confirms(**_: Any) -> list[CheckMessage]:
    """E002: a task counts as sent only once the broker has it."""
    if not _on_rabbitmq() or current_app.conf.broker_transport_options.get("confirm_publish"):
        return []
    return [
        Error(
            "Celery publishes without waiting for the broker's confirms: an operator's task can vanish on its way.",
            hint="Set CELERY_BROKER_TRANSPORT_OPTIONS = {'confirm_publish': True}.",
            id="nexus.E002",
        )
    ]


def check_queue_types(**_: Any) -> list[CheckMessage]:
    """E003: every queue of Celery is a quorum queue, which survives the loss of a node."""
    if not _on_rabbitmq():
        return []
    return [
        Error(
            f"Celery's queue {name!r} is a classic queue: what it holds is lost with the node that holds it.",
            hint=(
                "Declare it in CELERY_TASK_QUEUES (nexus_site/celery.py) with "
                "queue_arguments={'x-queue-type': 'quorum'}, and delete the old one."
            ),
            id="nexus.E003",
        )
        for name, queue in current_app.amqp.queues.items()
        if (queue.queue_arguments or {}).get("x-queue-type") != "quorum"
    ]


def check_operators_tasks(**_: Any) -> list[CheckMessage]:
    """E009: an operator's task outlives the worker that runs it, and the worker outlives the broker."""
    conf = current_app.conf
    rules = (
        (
            not conf.task_acks_late,
            "task_acks_late is off: a worker that is killed loses the task that it runs",
            "CELERY_TASK_ACKS_LATE = True",
        ),
        (
            not conf.task_reject_on_worker_lost,
            "task_reject_on_worker_lost is off: a pool process that is killed loses the task that it runs",
            "CELERY_TASK_REJECT_ON_WORKER_LOST = True",
        ),
        (
            conf.broker_connection_max_retries is not None,
            f"broker_connection_max_retries is {conf.broker_connection_max_retries}: a worker gives up on a "
            "broker that is away for long",
            "CELERY_BROKER_CONNECTION_MAX_RETRIES = None",
        ),
        (
            not conf.broker_channel_error_retry,
            "broker_channel_error_retry is off: a channel that RabbitMQ closes ends the worker",
            "CELERY_BROKER_CHANNEL_ERROR_RETRY = True",
        ),
        (
            _on_rabbitmq() and not conf.worker_detect_quorum_queues,
            "worker_detect_quorum_queues is off: quorum queues refuse the worker's global prefetch, and it ends again "
            "and again",
            "CELERY_WORKER_DETECT_QUORUM_QUEUES = True",
        ),
    )
    return [
        Error(f"Celery: {problem}.", hint=f"Set {fix}.", id="nexus.E009") for broken, problem, fix in rules if broken
    ]


def check_accepted_content(**_: Any) -> list[CheckMessage]:
    """E015: nobody who can publish can run code."""
    conf = current_app.conf
    accepted = {*(conf.accept_content or ()), *(conf.result_accept_content or ()), conf.task_serializer}
    if not accepted & PICKLE:
        return []
    return [
        Error(
            "Celery accepts pickled content: whoever can publish to the broker can run any code in the workers.",
            hint="Take 'pickle' out of CELERY_ACCEPT_CONTENT, CELERY_RESULT_ACCEPT_CONTENT and CELERY_TASK_SERIALIZER.",
            id="nexus.E015",
        )
    ]
