"""The broker of this process."""

from __future__ import annotations

import functools

from messaging.brokers import BrokerKind, MessageBroker, create_broker, kind_of, nexus_topology
from messaging.conf import get_settings


@functools.cache
def _broker(url: str, prefix: str, partitions: int) -> MessageBroker:
    return create_broker(url, topology=nexus_topology(prefix, partitions))


def get_broker() -> MessageBroker:
    """The broker that the settings name; one object a process, with connections of its own for each thread."""
    settings = get_settings()
    return _broker(settings.broker_url, settings.queue_prefix, settings.queue_partitions)


def get_kind() -> BrokerKind | None:
    """The kind of broker that the settings name; None where no broker has such a URL, which nexus.E001 says."""
    return kind_of(get_settings().broker_url)
