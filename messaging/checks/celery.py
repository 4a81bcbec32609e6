"""Checks of Celery, which carries operators' tasks."""

from __future__ import annotations

from typing import Any

from celery import current_app
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning

from messaging.brokers import kind_of
from messaging.celery import is_installed, own_queues

PICKLE = {"pickle", "application/x-python-serialize"}


def check_celery_broker(**_: Any) -> list[CheckMessage]:
    """E002, E003, E009: what the kind of broker that carries Celery's tasks asks of it."""
    kind = kind_of(str(current_app.conf.broker_url or ""))
    return kind.check_celery(current_app, own_queues()) if kind is not None else []


def check_installed(**_: Any) -> list[CheckMessage]:
    """W006: the project's workers will handle messages."""
    if not own_queues() or is_installed(current_app):
        return []
    return [
        CheckWarning(
            f"The Celery app {current_app.main or 'of this project'} knows nothing of Nexus: its workers handle no "
            "messages.",
            hint="Call messaging.celery.install(app) where it is made, and import it in the project's __init__.py.",
            id="nexus.W006",
        )
    ]


def check_operators_tasks(**_: Any) -> list[CheckMessage]:
    """E009: the worker outlives the broker."""
    conf = current_app.conf
    rules = (
        (
            conf.broker_connection_max_retries is not None,
            f"broker_connection_max_retries is {conf.broker_connection_max_retries}: a worker gives up on a "
            "broker that is away for long",
            "CELERY_BROKER_CONNECTION_MAX_RETRIES = None",
        ),
        (
            not conf.broker_channel_error_retry,
            "broker_channel_error_retry is off: a channel that the broker closes ends the worker",
            "CELERY_BROKER_CHANNEL_ERROR_RETRY = True",
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
