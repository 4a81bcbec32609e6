"""The interface that every message broker of Nexus has: move bytes to a queue, say what became of them, hand them out.

A broker is transport, not memory: what it loses, the log publishes again. It must be exact about one thing only: a
message is CONFIRMED when the broker has it safely, and never otherwise.

One broker object serves all threads of a process, and their children after a fork: connections, bursts in flight and
subscriptions belong to the thread that made them. Every call that can wait takes a timeout in seconds and keeps it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from time import monotonic
from types import TracebackType
from typing import Any, ClassVar, Self

from messaging.brokers.topology import QueueSpec, Topology

DEFAULT_PUBLISH_TIMEOUT = 10.0
"""Seconds that publish() and publish_many() wait for confirms when no timeout is given."""


class Confirmation(StrEnum):
    """What the broker said about a published message."""

    CONFIRMED = "confirmed"
    """Safe in every queue to which it was routed."""
    RETURNED = "returned"
    """No queue is bound for its routing key, or its exchange does not exist: call ``initialize()``, publish again."""
    REFUSED = "refused"
    """The broker turned it away, such as by a full queue. It may be stored in none or in some of several queues."""
    UNKNOWN = "unknown"
    """The deadline passed or the connection broke before the broker answered: stored or not? Publish again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingMessage:
    """A message to publish.

    Args:
        id: names it in the confirmations; unique within a burst. Also its AMQP message id.
        body: the exact bytes to carry.
        exchange: where to publish it.
        routing_key: by which the exchange routes it.
        headers: small values (str, int, bool, None, and lists or dicts of those).
        content_type: media type of the body.
        content_encoding: text encoding of the body.
        correlation_id: AMQP correlation id; Celery shows it as the task id.
        bundle_size: how many such messages, to the same queue, a broker may carry and hand out in one; 1: none with
            another. Who receives them sees single messages.
    """

    id: str
    body: bytes
    exchange: str
    routing_key: str
    headers: Mapping[str, Any]
    content_type: str = "application/cloudevents+json"
    content_encoding: str = "utf-8"
    correlation_id: str = ""
    bundle_size: int = 1


@dataclass(slots=True, kw_only=True)
class Subscription:
    """The right to receive from one queue, in the thread that asked for it.

    Args:
        queue: name of the queue.
        prefetch: messages that may be handed out and not yet acknowledged; see ``MessageBroker.bundles``.
    """

    queue: str
    prefetch: int
    _handle: Any = field(default=None, repr=False)


@dataclass(slots=True, kw_only=True)
class ReceivedMessage:
    """A message handed out by a queue, to be acknowledged by the thread that received it.

    Args:
        queue: the queue from which it came.
        body: the bytes as they were published.
        headers: as they were published, and what the broker added, such as ``x-death``.
        content_type: media type of the body, empty if the publisher gave none.
        redelivered: whether it may have been handed out before.
        tag: the broker's number for this hand-out, used to acknowledge it.
        unreadable: why it cannot be decoded; empty for a message that can be read. Such a one belongs into the
            dead-letter queue; where its properties are what cannot be decoded, it has them, raw, instead of headers.
    """

    queue: str
    body: bytes
    headers: Mapping[str, Any]
    content_type: str
    redelivered: bool
    tag: int
    unreadable: str = ""
    _handle: Any = field(default=None, repr=False)
    _part: int = field(default=0, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerHealth:
    """The result of a health check.

    Args:
        ok: whether messages can be published and received now.
        detail: what is wrong and what to do, or a short confirmation.
        latency: seconds that the check took.
    """

    ok: bool
    detail: str
    latency: float


class MessageBroker(ABC):
    """Publishes to and receives from queues. Safe to share between threads and across a fork.

    Args:
        topology: what ``initialize()`` creates.
    """

    bundles: ClassVar[bool] = False
    """Whether it carries several messages in one (``OutgoingMessage.bundle_size``). A prefetch and a queue's depth then
    count such a bundle as one, and a bundle of which a part is given back is handed out again as a whole."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology

    @abstractmethod
    def initialize(self) -> None:
        """Create the exchanges, queues and bindings of the topology, where they are missing.

        Raises:
            TopologyMismatch: one exists with other arguments; the message says the fix.
            BrokerUnavailable: the broker cannot be reached.
        """

    @abstractmethod
    def create_queue(self, queue: QueueSpec) -> None:
        """Create a queue unless it exists. Raises as ``initialize()`` does."""

    @abstractmethod
    def create_topic(self, name: str) -> None:
        """Create a topic exchange unless it exists. Raises as ``initialize()`` does."""

    @abstractmethod
    def bind(self, queue: str, topic: str, pattern: str) -> None:
        """Route messages of a topic to a queue.

        Args:
            queue: name of an existing queue.
            topic: name of an existing exchange.
            pattern: words separated by dots, where ``*`` stands for one word and ``#`` for any number of words.

        Raises:
            TopologyMismatch: the queue or the topic does not exist.
            BrokerUnavailable: the broker cannot be reached.
        """

    def publish(self, message: OutgoingMessage, *, timeout: float | None = None) -> Confirmation:
        """Publish one message and wait for what the broker says.

        Args:
            message: what to publish.
            timeout: seconds to wait for the confirm; None for ``DEFAULT_PUBLISH_TIMEOUT``.

        Raises:
            BrokerUnavailable: there is no connection and none could be made; nothing was sent.
            BrokerBlocked: the broker has an alarm and takes no messages; nothing was sent.
        """
        return self.publish_many((message,), timeout=timeout)[message.id]

    def publish_many(
        self, messages: Sequence[OutgoingMessage], *, timeout: float | None = None
    ) -> dict[str, Confirmation]:
        """Publish a burst and wait until every message of it is known, or the deadline.

        Args:
            messages: what to publish, in this order.
            timeout: seconds to wait for the confirms; None for ``DEFAULT_PUBLISH_TIMEOUT``.

        Returns:
            The confirmation of every message of the burst by id; UNKNOWN where the deadline passed.

        Raises:
            BrokerUnavailable: there is no connection and none could be made; nothing was sent.
            BrokerBlocked: the broker has an alarm and takes no messages; nothing was sent.
            RuntimeError: an earlier ``publish_begin()`` of this thread was not collected.
        """
        if not messages:
            return {}
        if self.outstanding:
            raise RuntimeError("collect the burst that publish_begin() wrote before publishing another one and waiting")
        deadline = monotonic() + (DEFAULT_PUBLISH_TIMEOUT if timeout is None else timeout)
        self.publish_begin(messages)
        known: dict[str, Confirmation] = {}
        while len(known) < len(messages) and (remaining := deadline - monotonic()) > 0:
            known.update(self.publish_collect(remaining))
        self._forget_outstanding()
        return {message.id: known.get(message.id, Confirmation.UNKNOWN) for message in messages}

    @abstractmethod
    def publish_begin(self, messages: Sequence[OutgoingMessage]) -> None:
        """Write a burst to the broker without waiting for its confirms.

        If the connection breaks while writing, the messages become UNKNOWN in ``publish_collect()``.

        Raises:
            ValueError: a header has a value that cannot be carried; nothing was sent.
            BrokerUnavailable: there is no connection and none could be made; nothing was sent.
            BrokerBlocked: the broker has an alarm and takes no messages; nothing was sent.
        """

    @abstractmethod
    def publish_collect(self, timeout: float) -> dict[str, Confirmation]:
        """Return what became known about this thread's bursts since the last call, by message id.

        Waits until something is known, at most ``timeout`` seconds (0: only what is there already). When the
        connection is lost, every outstanding message is UNKNOWN.
        """

    @property
    @abstractmethod
    def outstanding(self) -> int:
        """Number of this thread's published messages about which the broker has not said anything yet."""

    @abstractmethod
    def _forget_outstanding(self) -> None:
        """Stop waiting for confirms that are missing: they are reported UNKNOWN by the caller."""

    @abstractmethod
    def subscribe(self, queue: str, *, prefetch: int) -> Subscription:
        """Ask for the messages of a queue, in this thread.

        Args:
            queue: name of an existing queue.
            prefetch: messages that may be handed out and not yet acknowledged; at least 1.

        Raises:
            TopologyMismatch: the queue does not exist.
            BrokerUnavailable: the broker cannot be reached.
        """

    @abstractmethod
    def receive(self, *subscriptions: Subscription, limit: int, timeout: float) -> list[ReceivedMessage]:
        """Take messages: wait for the first, then add those that are there already.

        Reconnects and subscribes again by itself after the connection was lost.

        Args:
            subscriptions: from which to take, made by this thread.
            limit: messages to return at most.
            timeout: seconds to wait for the first message.

        Returns:
            The messages, in the order of each queue; empty when the timeout passed.

        Raises:
            BrokerUnavailable: the connection is lost and the broker cannot be reached; call again later.
        """

    @abstractmethod
    def acknowledge(self, messages: Sequence[ReceivedMessage]) -> None:
        """Remove handled messages from their queues. Those of a lost connection are skipped: they come again."""

    @abstractmethod
    def negative_acknowledge(self, message: ReceivedMessage, *, requeue: bool) -> None:
        """Give a message back unhandled.

        Args:
            message: what to give back.
            requeue: True to hand it out again, marked redelivered; False to move it to the dead-letter queue.
        """

    @abstractmethod
    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription. What it handed out and nobody acknowledged returns to the queue."""

    def give_way(self, subscription: Subscription) -> None:  # noqa: B027 - without such queues there is nothing to do
        """Let another subscriber become the one that a queue with a single active consumer hands its messages to.

        What was handed out already stays with this one, to be acknowledged. Afterwards it is the last in the line.

        Raises:
            TopologyMismatch: the queue does not exist any more.
            BrokerUnavailable: the broker cannot be reached.
        """

    @abstractmethod
    def queue_depth(self, queue: str) -> int:
        """Return the number of messages that wait in a queue, without those handed out. A bundle counts as one.

        Raises:
            TopologyMismatch: the queue does not exist.
            BrokerUnavailable: the broker cannot be reached.
        """

    @abstractmethod
    def health_check(self) -> BrokerHealth:
        """Say whether the broker works now. Never raises and never waits longer than the connect timeout."""

    @abstractmethod
    def close(self) -> None:
        """Close this thread's connections. Messages not acknowledged return to their queues. May be called again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
