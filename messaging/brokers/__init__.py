"""Message brokers: one interface, chosen by URL. Each broker is a folder here and a line in ``KINDS``."""

from __future__ import annotations

from typing import Any

from messaging.brokers.base import (
    BrokerHealth,
    Confirmation,
    MessageBroker,
    OutgoingMessage,
    ReceivedMessage,
    Subscription,
)
from messaging.brokers.embedded import EmbeddedBroker
from messaging.brokers.embedded.kind import EmbeddedKind
from messaging.brokers.kind import BrokerKind
from messaging.brokers.memory import InMemoryBroker
from messaging.brokers.memory.kind import InMemoryKind
from messaging.brokers.rabbitmq import RabbitMQBroker
from messaging.brokers.rabbitmq.kind import RabbitMQKind
from messaging.brokers.topology import NEXUS_TOPOLOGY, BindingSpec, ExchangeSpec, QueueSpec, Topology, nexus_topology
from messaging.core.errors import ConfigurationError

__all__ = [
    "KINDS",
    "NEXUS_TOPOLOGY",
    "BindingSpec",
    "BrokerHealth",
    "BrokerKind",
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
    "kind_of",
    "nexus_topology",
]


KINDS: tuple[BrokerKind, ...] = (
    RabbitMQKind(),
    EmbeddedKind(),
    InMemoryKind(),
)


def kind_of(url: str) -> BrokerKind | None:
    """Return the kind of broker that a URL names, or None if there is none."""
    scheme, separator, _ = url.partition("://")
    return next((kind for kind in KINDS if separator and scheme in kind.schemes), None)


def create_broker(url: str, *, topology: Topology = NEXUS_TOPOLOGY, **options: Any) -> MessageBroker:
    """Return the broker that a URL names. Opens no connection.

    Args:
        url: ``amqp://user:password@host:port/vhost`` or ``amqps://…`` for RabbitMQ (several joined by ``;`` for a
            cluster), ``embedded:///absolute/file`` or ``embedded://relative/file`` for a file, ``memory://name`` for
            this process.
        topology: what its ``initialize()`` creates.
        options: further arguments of the broker's class.

    Raises:
        ConfigurationError: no broker has such URLs.
    """
    kind = kind_of(url)
    if kind is None:
        scheme, separator, _ = url.partition("://")
        forms = ", ".join(known.form for known in KINDS)
        got = f"one that starts with {scheme!r}" if separator else "one without a scheme"
        raise ConfigurationError(f"broker URL: expected one like {forms}; got {got}")
    return kind.create(url, topology=topology, **options)
