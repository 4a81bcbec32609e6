"""Checks that ask the broker."""

from __future__ import annotations

from typing import Any

from celery import current_app
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning

from messaging.checks.settings import readable_settings
from messaging.core.errors import BrokerError, ConfigurationError, TopologyMismatch
from messaging.transport.current import get_broker, get_kind

FIX = (
    "Stop the workers, delete the queue (rabbitmqctl delete_queue NAME --vhost …) and start again: the relay publishes "
    "from the log what it held. Or set NEXUS_QUEUE_PREFIX, and share the broker with the other installation."
)


def check_broker(**_: Any) -> list[CheckMessage]:
    """E005 and what the kind of broker adds: it is recent enough and its queues are the ones that are configured."""
    settings = readable_settings()
    kind = get_kind() if settings is not None else None
    if settings is None or kind is None:
        return []
    found: list[CheckMessage] = []
    try:
        get_broker().initialize()
    except TopologyMismatch as error:
        found.append(Error(str(error), hint=FIX, id="nexus.E005"))
    except ConfigurationError:
        return []  # nexus.E001 says so
    except BrokerError as error:
        return [
            CheckWarning(
                f"The broker cannot be reached, so it was not checked: {error}",
                hint="Start it, or correct BROKER_URL. Until then messages wait in the log.",
                id="nexus.W002",
            )
        ]
    return [*found, *kind.check_server(settings.broker_url, current_app)]
