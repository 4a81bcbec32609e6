"""The broker inside one process, for tests and trials."""

from messaging.brokers.memory.broker import InMemoryBroker

__all__ = ["InMemoryBroker"]
