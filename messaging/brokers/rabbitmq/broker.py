"""RabbitMQBroker: the message broker of production, on quorum queues with publisher confirms."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any
from uuid import uuid4

from amqp.exceptions import ChannelError, NotFound, PreconditionFailed

from messaging.brokers.base import (
    BrokerHealth,
    Confirmation,
    MessageBroker,
    OutgoingMessage,
    ReceivedMessage,
    Subscription,
)
from messaging.brokers.rabbitmq.connector import Connector
from messaging.brokers.rabbitmq.consuming import ReceivingSide
from messaging.brokers.rabbitmq.dead_lettering import must_be_sent_on, send_on
from messaging.brokers.rabbitmq.link import LINK_ERRORS
from messaging.brokers.rabbitmq.publishing import PublishingSide
from messaging.brokers.topology import NEXUS_TOPOLOGY, BindingSpec, ExchangeSpec, QueueSpec, Topology
from messaging.core.errors import BrokerError, BrokerUnavailable, TopologyMismatch

_PROBE_STEP = 0.05
"""Seconds between two looks, during a health check, whether the broker has blocked the connection."""


class _ThreadState(threading.local):
    process: int = 0
    publisher: PublishingSide | None = None
    consumer: ReceivingSide | None = None


class RabbitMQBroker(MessageBroker):
    """A broker on RabbitMQ 3.10 or later, over py-amqp.

    Each thread has one connection for publishing and one for receiving (RabbitMQ stops reading from connections that
    publish during an alarm, and acknowledgements must not wait for that), opened when first needed. Creating and
    asking things opens a connection for that one call.

    Args:
        url: ``amqp://user:password@host:port/vhost``, ``amqps://…?ca_certs=<file>`` for TLS; several joined by ``;``
            for the nodes of a cluster.
        topology: what ``initialize()`` creates.
        connect_timeout: seconds for each step of opening a connection, and for each answer of the broker.
        heartbeat: seconds between the heartbeats of a receiving connection.
        longest_delay: seconds that a broker which is down is left alone at most, before the next attempt.
    """

    bundles = True

    def __init__(
        self,
        url: str,
        *,
        topology: Topology = NEXUS_TOPOLOGY,
        connect_timeout: float = 3.0,
        heartbeat: float = 20.0,
        longest_delay: float = 5.0,
    ) -> None:
        super().__init__(topology)
        self._connector = Connector(url, connect_timeout=connect_timeout, longest_delay=longest_delay)
        self._heartbeat = heartbeat
        self._process = os.getpid()
        self._local = _ThreadState()

    # -- topology

    def initialize(self) -> None:
        with self._admin_channel() as channel:
            for exchange in self.topology.exchanges:
                _declare_exchange(channel, exchange)
            for queue in self.topology.queues:
                _declare_queue(channel, queue)
            for binding in self.topology.bindings:
                _bind(channel, binding)

    def create_queue(self, queue: QueueSpec) -> None:
        with self._admin_channel() as channel:
            _declare_queue(channel, queue)

    def create_topic(self, name: str) -> None:
        with self._admin_channel() as channel:
            _declare_exchange(channel, ExchangeSpec(name=name, type="topic"))

    def bind(self, queue: str, topic: str, pattern: str) -> None:
        with self._admin_channel() as channel:
            _bind(channel, BindingSpec(exchange=topic, queue=queue, pattern=pattern))

    def queue_depth(self, queue: str) -> int:
        with self._admin_channel() as channel:
            try:
                depth: int = channel.queue_declare(queue, passive=True).message_count
            except NotFound as error:
                raise TopologyMismatch(
                    f"queue {queue!r} does not exist on RabbitMQ; call initialize() first"
                ) from error
        return depth

    # -- publishing

    def publish_begin(self, messages: Sequence[OutgoingMessage]) -> None:
        self._publisher().begin(messages)

    def publish_collect(self, timeout: float) -> dict[str, Confirmation]:
        return self._publisher().collect(timeout)

    @property
    def outstanding(self) -> int:
        return self._publisher().outstanding

    def _forget_outstanding(self) -> None:
        self._publisher().forget()

    # -- receiving

    def subscribe(self, queue: str, *, prefetch: int) -> Subscription:
        subscription = Subscription(queue=queue, prefetch=prefetch)
        self._consumer().subscribe(subscription)
        return subscription

    def receive(self, *subscriptions: Subscription, limit: int, timeout: float) -> list[ReceivedMessage]:
        return self._consumer().receive(subscriptions, limit, timeout)

    def acknowledge(self, messages: Sequence[ReceivedMessage]) -> None:
        self._consumer().acknowledge(messages)

    def negative_acknowledge(self, message: ReceivedMessage, *, requeue: bool) -> None:
        if requeue or not must_be_sent_on(message):
            self._consumer().reject(message, requeue=requeue)
            return
        publisher = PublishingSide(self._connector, self._name("dead letters"))
        try:
            sent = send_on(message, self.topology, publisher, self._connector.connect_timeout)
        finally:
            publisher.close()
        if sent:
            self._consumer().acknowledge((message,))
        else:
            self._consumer().reject(message, requeue=True)

    def give_way(self, subscription: Subscription) -> None:
        self._consumer().give_way(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        self._consumer().unsubscribe(subscription)

    # -- state

    def health_check(self) -> BrokerHealth:
        start = monotonic()
        probe = PublishingSide(self._connector, self._name("health check"))
        try:
            # Twice: during an alarm RabbitMQ still reads a connection's first message.
            answered = self._probe(probe) and self._probe(probe)
            blocked = probe.blocked
        except BrokerError as error:
            return BrokerHealth(ok=False, detail=str(error), latency=monotonic() - start)
        finally:
            probe.close()
        latency = monotonic() - start
        if answered:
            return BrokerHealth(ok=True, detail=f"RabbitMQ at {self._connector.host} answers", latency=latency)
        reason = "it has a memory or disk alarm" if blocked else f"it did not answer within {latency:.1f} s"
        return BrokerHealth(
            ok=False, detail=f"RabbitMQ at {self._connector.host} takes no messages: {reason}", latency=latency
        )

    def _probe(self, probe: PublishingSide) -> bool:
        """Publish a message that no queue takes, and say whether it came back: nothing is stored."""
        message = OutgoingMessage(id="probe", body=b"", exchange="", routing_key=f"nexus.health.{uuid4()}", headers={})
        deadline = monotonic() + self._connector.connect_timeout
        probe.begin((message,))
        while probe.outstanding and not probe.blocked and monotonic() < deadline:
            if probe.collect(_PROBE_STEP).get(message.id) is Confirmation.RETURNED:
                return True
        return False

    def close(self) -> None:
        state = self._state()
        if state.publisher is not None:
            state.publisher.close()
        if state.consumer is not None:
            state.consumer.close()

    # -- per thread

    def _state(self) -> _ThreadState:
        process = os.getpid()
        state = self._local
        if state.process != process:
            if self._process != process:
                self._process = process
                self._connector.reset()
            for side in (state.publisher, state.consumer):
                if side is not None:
                    side.abandon()
            state.process, state.publisher, state.consumer = process, None, None
        return state

    def _name(self, purpose: str) -> str:
        return f"nexus {purpose} {os.getpid()} {threading.get_ident()}"

    def _publisher(self) -> PublishingSide:
        state = self._state()
        if state.publisher is None:
            state.publisher = PublishingSide(self._connector, self._name("publisher"))
        return state.publisher

    def _consumer(self) -> ReceivingSide:
        state = self._state()
        if state.consumer is None:
            state.consumer = ReceivingSide(self._connector, self._name("consumer"), self._heartbeat)
        return state.consumer

    @contextmanager
    def _admin_channel(self) -> Iterator[Any]:
        self._state()
        link = self._connector.open(self._name("administration"))
        try:
            yield link.open_channel()
        except ChannelError as error:
            raise TopologyMismatch(f"RabbitMQ refused: {error.reply_text}") from error
        except LINK_ERRORS as error:
            raise BrokerUnavailable(f"RabbitMQ dropped the connection ({error}); try again") from error
        finally:
            link.close()


def _declare_exchange(channel: Any, exchange: ExchangeSpec) -> None:
    try:
        channel.exchange_declare(exchange.name, exchange.type, durable=True, auto_delete=False)
    except PreconditionFailed as error:
        raise TopologyMismatch(
            f"exchange {exchange.name!r} exists on RabbitMQ and is not a durable {exchange.type} exchange "
            f"({error.reply_text}); delete it and initialize again, or set another prefix for this installation"
        ) from error


def _declare_queue(channel: Any, queue: QueueSpec) -> None:
    arguments = queue.arguments()
    try:
        channel.queue_declare(queue.name, durable=True, auto_delete=False, arguments=arguments)
    except PreconditionFailed as error:
        raise TopologyMismatch(
            f"queue {queue.name!r} exists on RabbitMQ with other arguments than {arguments} ({error.reply_text}). "
            f"Stop the workers, delete it (rabbitmqctl delete_queue {queue.name}) and initialize again: what it held "
            "and was not handled is published again from the log. Or set another prefix for this installation"
        ) from error


def _bind(channel: Any, binding: BindingSpec) -> None:
    try:
        channel.queue_bind(binding.queue, binding.exchange, binding.pattern)
    except NotFound as error:
        raise TopologyMismatch(
            f"cannot bind {binding.queue!r} to {binding.exchange!r}: {error.reply_text}; create both first"
        ) from error
