"""Message brokers: one interface, three implementations, chosen by URL."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from messaging.brokers.base import (
    BrokerHealth,
    Confirmation,
    MessageBroker,
    OutgoingMessage,
    ReceivedMessage,
    Subscription,
)
from messaging.brokers.embedded import EmbeddedBroker
from messaging.brokers.memory import InMemoryBroker
from messaging.brokers.rabbitmq import RabbitMQBroker
from messaging.brokers.topology import NEXUS_TOPOLOGY, BindingSpec, ExchangeSpec, QueueSpec, Topology, nexus_topology
from messaging.core.errors import ConfigurationError

__all__ = [
    "NEXUS_TOPOLOGY",
    "BindingSpec",
    "BrokerHealth",
    "Confirmation",
    "EmbeddedBroker",
    "ExchangeSpec",
    "InMemoryBroker",
    "MessageBroker",
    "OutgoingMessage",
    "QueueSpec",
    "RabbitMQBroker",
    "ReceivedMessage",
    "Subscription",
    "Topology",
    "create_broker",
    "nexus_topology",
]


def create_broker(url: str, *, topology: Topology = NEXUS_TOPOLOGY, **options: Any) -> MessageBroker:
    """Return the broker that a URL names. Opens no connection.

    Args:
        url: ``amqp://user:password@host:port/vhost`` or ``amqps://…`` for RabbitMQ (several joined by ``;`` for a
        cluster),
            ``embedded:///absolute/file`` or ``embedded://relative/file`` for a file, ``memory://name`` for this
            process.
        topology: what its ``initialize()`` creates.
        options: further arguments of the broker's class.

    Raises:
        ConfigurationError: no broker has such URLs.
    """
    scheme, separator, rest = url.partition("://")
    if separator and scheme in ("amqp", "amqps", "pyamqp"):
        return RabbitMQBroker(url, topology=topology, **options)
    if separator and scheme == "embedded" and rest:
        return EmbeddedBroker(unquote(rest), topology=topology, **options)
    if separator and scheme == "memory":
        return InMemoryBroker(rest, topology=topology, **options)
    raise ConfigurationError(
        "broker URL: expected amqp://…, amqps://…, embedded:///file or memory://name, "
        f"got a URL that starts with {scheme!r}"
    )
