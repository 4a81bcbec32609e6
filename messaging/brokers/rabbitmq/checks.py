"""System checks of RabbitMQ, and of a Celery whose tasks it carries."""

from __future__ import annotations

import re
from typing import Any

from amqp.exceptions import PreconditionFailed
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning

TIMEOUT = 5.0
MIN_RABBITMQ = (3, 10)


def check_confirms(app: Any) -> list[CheckMessage]:
    """E002: a task counts as sent only once the broker has it."""
    if app.conf.broker_transport_options.get("confirm_publish"):
        return []
    return [
        Error(
            "Celery publishes without waiting for the broker's confirms: an operator's task can vanish on its way.",
            hint="Set CELERY_BROKER_TRANSPORT_OPTIONS = {'confirm_publish': True}.",
            id="nexus.E002",
        )
    ]


def check_queue_types(app: Any, own_queues: frozenset[str]) -> list[CheckMessage]:
    """E003: every queue of Nexus is a quorum queue, which survives the loss of a node."""
    return [
        Error(
            f"Celery's queue {name!r} is a classic queue: what it holds is lost with the node that holds it.",
            hint=(
                "Take it out of CELERY_TASK_QUEUES (messaging.celery.install() adds it as a quorum queue), and delete "
                "the old one."
            ),
            id="nexus.E003",
        )
        for name, queue in app.amqp.queues.items()
        if name in own_queues and (queue.queue_arguments or {}).get("x-queue-type") != "quorum"
    ]


def check_prefetch(app: Any) -> list[CheckMessage]:
    """E009: the worker asks for its prefetch in the way that quorum queues know."""
    if app.conf.worker_detect_quorum_queues:
        return []
    return [
        Error(
            "Celery: worker_detect_quorum_queues is off: quorum queues refuse the worker's global prefetch, and it "
            "ends again and again.",
            hint="Set CELERY_WORKER_DETECT_QUORUM_QUEUES = True.",
            id="nexus.E009",
        )
    ]


def check_server(url: str, app: Any, schemes: tuple[str, ...]) -> list[CheckMessage]:
    """E005, E016: RabbitMQ is recent enough, and Celery's queues are as its worker will declare them.

    Args:
        url: of the broker that carries messages.
        app: of Celery.
        schemes: of URLs that are RabbitMQ's.
    """
    options = {**app.conf.broker_transport_options, "read_timeout": TIMEOUT, "write_timeout": TIMEOUT}
    with app.connection_for_write(url=url, connect_timeout=TIMEOUT, transport_options=options) as connection:
        try:
            connection.connect()
            found = check_version(connection)
        except (*connection.connection_errors, *connection.channel_errors) as error:
            return [_unreachable(error)]
    if str(app.conf.broker_write_url).partition("://")[0] not in schemes:
        return found  # Celery uses something else
    with app.connection_for_write(connect_timeout=TIMEOUT, transport_options=options) as connection:
        try:
            connection.connect()
            return [*found, *_check_celery_queues(app, connection)]
        except (*connection.connection_errors, *connection.channel_errors) as error:
            return [*found, _unreachable(error)]


def _unreachable(error: Exception) -> CheckMessage:
    return CheckWarning(
        f"The broker cannot be reached, so it was not checked: {error}",
        hint="Start it, or correct BROKER_URL. Until then messages wait in the log.",
        id="nexus.W002",
    )


def check_version(connection: Any) -> list[CheckMessage]:
    """E016: RabbitMQ has dead-lettering that loses nothing."""
    version = str(connection.connection.server_properties.get("version", ""))
    parts = re.match(r"(\d+)\.(\d+)", version)
    if parts is None or (int(parts[1]), int(parts[2])) >= MIN_RABBITMQ:
        return []
    return [
        Error(
            f"RabbitMQ is {version}, whose quorum queues can lose dead letters; 3.10 or later is needed.",
            hint="Upgrade RabbitMQ.",
            id="nexus.E016",
        )
    ]


def _check_celery_queues(app: Any, connection: Any) -> list[CheckMessage]:
    """Declare Celery's queues as its worker will, which on a mismatch would end with no more than "406"."""
    problems: list[CheckMessage] = []
    for name, queue in app.amqp.queues.items():
        channel = connection.channel()
        try:
            queue(channel).queue_declare()
        except PreconditionFailed as error:
            problems.append(
                Error(
                    f"Celery's queue {name!r} exists on RabbitMQ with other arguments than "
                    f"{queue.queue_arguments or {}} ({error.reply_text}).",
                    hint=f"Stop the workers, delete it (rabbitmqctl delete_queue {name}) and start again; "
                    "operators' tasks that wait in it are lost.",
                    id="nexus.E005",
                )
            )
        else:
            channel.close()
    return problems
