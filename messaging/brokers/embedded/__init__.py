"""The broker that needs no server: queues in a SQLite file, or in the memory of one process."""

from messaging.brokers.embedded.broker import EmbeddedBroker

__all__ = ["EmbeddedBroker"]
