"""Short words for what the broker tests do all the time."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Any
from uuid import uuid4

from messaging.brokers import MessageBroker, OutgoingMessage, ReceivedMessage, Subscription
from messaging.testing.servers import waiting

PATIENCE = 20.0 * waiting.PATIENCE
"""Seconds that something may take that happens at once, on a busy machine."""
SILENCE = 0.15
"""Seconds in which something must not happen."""


class Scenario:
    """A broker under test and its queues.

    Args:
        broker: initialized.
    """

    def __init__(self, broker: MessageBroker) -> None:
        self.broker = broker
        self.exchange = broker.topology.name("nexus")
        self.quick = broker.topology.name("nexus.transactional")
        self.leased = broker.topology.name("nexus.leased")
        self.dead = broker.topology.name("nexus.dead")

    def message(
        self,
        body: bytes = b"{}",
        *,
        to: str | None = None,
        exchange: str | None = None,
        headers: Mapping[str, Any] = {},
    ) -> OutgoingMessage:
        """Return a message to the quick queue, or to another routing key and exchange."""
        return OutgoingMessage(
            id=str(uuid4()),
            body=body,
            exchange=self.exchange if exchange is None else exchange,
            routing_key=self.quick if to is None else to,
            headers=headers,
        )

    def burst(self, count: int, *, to: str | None = None) -> list[OutgoingMessage]:
        """Return messages whose bodies are 0, 1, 2, …"""
        return [self.message(b"%d" % number, to=to) for number in range(count)]

    def publish(self, *bodies: bytes, to: str | None = None) -> None:
        """Publish messages that must be confirmed."""
        messages = [self.message(body, to=to) for body in bodies]
        known = self.broker.publish_many(messages, timeout=PATIENCE)
        assert set(known.values()) <= {"confirmed"}, known

    def receive(
        self, subscription: Subscription, count: int, *, broker: MessageBroker | None = None
    ) -> list[ReceivedMessage]:
        """Receive exactly ``count`` messages."""
        broker = broker or self.broker
        received: list[ReceivedMessage] = []
        deadline = monotonic() + PATIENCE
        while len(received) < count and monotonic() < deadline:
            received += broker.receive(subscription, limit=count - len(received), timeout=deadline - monotonic())
        assert len(received) == count, f"received {len(received)} of {count} within {PATIENCE} s"
        return received

    def is_silent(self, subscription: Subscription) -> bool:
        """Return whether a subscription gets nothing for a while."""
        return self.broker.receive(subscription, limit=1, timeout=SILENCE) == []

    def bodies(self, queue: str) -> list[bytes]:
        """Take everything out of a queue and return the bodies."""
        subscription = self.broker.subscribe(queue, prefetch=1000)
        received: list[ReceivedMessage] = []
        while batch := self.broker.receive(subscription, limit=1000, timeout=SILENCE):
            self.broker.acknowledge(batch)
            received += batch
        self.broker.unsubscribe(subscription)
        return [message.body for message in received]
