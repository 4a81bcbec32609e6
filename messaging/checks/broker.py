"""Checks that ask the broker."""

from __future__ import annotations

from typing import Any

from celery import current_app
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning

from messaging.brokers import MessageBroker
from messaging.brokers.topology import partition_queue
from messaging.checks.settings import readable_settings
from messaging.core.errors import BrokerError, ConfigurationError, TopologyMismatch
from messaging.core.partitions import MAX_PARTITIONS
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
    if kind.single_active_consumers:
        found += check_left_partitions(get_broker(), settings.queue_partitions)
    return [*found, *kind.check_server(settings.broker_url, current_app)]


def check_left_partitions(broker: MessageBroker, partitions: int) -> list[CheckMessage]:
    """W010: no partition is left of a time when there were more.

    Args:
        broker: to ask.
        partitions: how many there are now.
    """
    left: list[str] = []
    for number in range(partitions if partitions > 1 else 0, MAX_PARTITIONS):
        name = broker.topology.name(partition_queue(number))
        try:
            broker.queue_depth(name)
        except (TopologyMismatch, BrokerError):
            break  # the first that is not there, or a broker that has gone: W002 says so next time
        left.append(name)
    if not left:
        return []
    return [
        CheckWarning(
            f"Queues of an earlier NEXUS_QUEUE_PARTITIONS exist, and nobody reads them now: {', '.join(left)}.",
            hint="Once all processes have the new setting, delete them (rabbitmqctl delete_queue NAME --vhost …): the "
            "relay publishes again what they held and was not handled.",
            id="nexus.W010",
        )
    ]
