"""Checks that ask the broker."""

from __future__ import annotations

import re
from typing import Any

from amqp.exceptions import PreconditionFailed
from celery import current_app
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning

from messaging.checks.settings import readable_settings
from messaging.core.errors import BrokerError, ConfigurationError, TopologyMismatch
from messaging.transport.current import get_broker

TIMEOUT = 5.0
OLDEST_RABBITMQ = (3, 10)

FIX = (
    "Stop the workers, delete the queue (rabbitmqctl delete_queue NAME --vhost …) and start again: the relay publishes "
    "from the log what it held. Or set NEXUS_QUEUE_PREFIX, and share the broker with the other installation."
)


def check_broker(**_: Any) -> list[CheckMessage]:
    """E005, E016: RabbitMQ is recent enough and its queues are the ones that are configured."""
    settings = readable_settings()
    if settings is None:
        return []
    try:
        get_broker().initialize()
    except TopologyMismatch as error:
        return [Error(str(error), hint=FIX, id="nexus.E005"), *_check_rabbitmq(settings.embedded)]
    except ConfigurationError:
        return []  # nexus.E001 says so
    except BrokerError as error:
        return [_unreachable(error)]
    return _check_rabbitmq(settings.embedded)


def _unreachable(error: Exception) -> CheckMessage:
    return CheckWarning(
        f"The broker cannot be reached, so it was not checked: {error}",
        hint="Start it, or correct BROKER_URL. Until then messages wait in the log.",
        id="nexus.W002",
    )


def _check_rabbitmq(embedded: bool) -> list[CheckMessage]:
    if embedded:
        return []
    options = {**current_app.conf.broker_transport_options, "read_timeout": TIMEOUT, "write_timeout": TIMEOUT}
    with current_app.connection_for_write(connect_timeout=TIMEOUT, transport_options=options) as connection:
        try:
            connection.connect()
            return [*_check_version(connection), *_check_operators_queues(connection)]
        except (*connection.connection_errors, *connection.channel_errors) as error:
            return [_unreachable(error)]


def _check_version(connection: Any) -> list[CheckMessage]:
    version = str(connection.connection.server_properties.get("version", ""))
    parts = re.match(r"(\d+)\.(\d+)", version)
    if parts is None or (int(parts[1]), int(parts[2])) >= OLDEST_RABBITMQ:
        return []
    return [
        Error(
            f"RabbitMQ is {version}, whose quorum queues can lose dead letters; 3.10 or later is needed.",
            hint="Upgrade RabbitMQ.",
            id="nexus.E016",
        )
    ]


def _check_operators_queues(connection: Any) -> list[CheckMessage]:
    """Declare Celery's queues as its worker will, which on a mismatch would end with no more than "406"."""
    problems: list[CheckMessage] = []
    for name, queue in current_app.amqp.queues.items():
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
