"""What Nexus knows about ``memory://`` URLs."""

from __future__ import annotations

from typing import Any

from messaging.brokers.embedded.kind import EmbeddedKind
from messaging.brokers.memory.broker import InMemoryBroker
from messaging.brokers.topology import Topology


class InMemoryKind(EmbeddedKind):
    """Queues in the memory of one process. Celery gets the embedded mode's files, as its worker is another process."""

    title = "the in-memory broker"
    schemes = ("memory",)
    form = "memory://name"

    def create(self, url: str, *, topology: Topology, **options: Any) -> InMemoryBroker:
        return InMemoryBroker(url.partition("://")[2], topology=topology, **options)
