"""What Nexus needs on a broker, as data: exchanges, queues, bindings.

    Topology
    ├── exchanges   nexus (direct), nexus.inbox (fanout), nexus.dlx (fanout)
    ├── queues      nexus.transactional, nexus.leased, nexus.inbox  -> dead-letter to nexus.dlx
    │               nexus.dead
    └── bindings    nexus --nexus.transactional--> nexus.transactional
                    nexus --nexus.leased--> nexus.leased
                    nexus.inbox --> nexus.inbox
                    nexus.dlx --> nexus.dead

With partitions there are ``nexus.transactional.0``, ``.1``, … too, each with its binding and a single active consumer.

``nexus.inbox`` is for programs outside: an exchange of its own, so that their user may write to nothing else.
A broker's ``initialize()`` makes it so. Nothing here talks to a broker.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

MAIN_EXCHANGE = "nexus"
DEAD_LETTER_EXCHANGE = "nexus.dlx"
TRANSACTIONAL_QUEUE = "nexus.transactional"
LEASED_QUEUE = "nexus.leased"
INBOX_EXCHANGE = "nexus.inbox"
INBOX_QUEUE = "nexus.inbox"
DEAD_LETTER_QUEUE = "nexus.dead"

DELIVERY_LIMIT = 1000
"""Times the broker hands a message out before it dead-letters it.

A last resort only: a crashing worker charges every message that it held, the innocent ones too, so attempts are counted
in the database. Set nevertheless, because RabbitMQ 4 would otherwise dead-letter after 20.
"""

INBOX_LENGTH = 10_000
"""Events that wait in the inbox at most; beyond it their senders' publishes are refused, and they try again later."""

ExchangeType = Literal["direct", "fanout", "topic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeSpec:
    """A durable exchange.

    Args:
        name: the exchange's name on the broker.
        type: how it routes: ``direct`` by equal key, ``topic`` by pattern, ``fanout`` to every bound queue.
    """

    name: str
    type: ExchangeType = "direct"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSpec:
    """A durable quorum queue.

    Args:
        name: the queue's name on the broker.
        dead_letter_exchange: where rejected and undeliverable messages go, or None to drop them.
        delivery_limit: times a message is handed out before it is dead-lettered, or None for the broker's default.
        max_length: ready messages that it holds at most, or None for no limit. A publish beyond it is REFUSED.
        single_active_consumer: whether one consumer at a time gets its messages, and the others wait to replace it.
    """

    name: str
    dead_letter_exchange: str | None = None
    delivery_limit: int | None = None
    max_length: int | None = None
    single_active_consumer: bool = False

    def arguments(self) -> dict[str, Any]:
        """Return the AMQP arguments with which the queue is declared."""
        arguments: dict[str, Any] = {"x-queue-type": "quorum"}
        if self.dead_letter_exchange is not None or self.max_length is not None:
            arguments["x-overflow"] = "reject-publish"  # the default, drop-head, loses messages
        if self.dead_letter_exchange is not None:
            arguments["x-dead-letter-exchange"] = self.dead_letter_exchange
            arguments["x-dead-letter-strategy"] = "at-least-once"  # the default, at-most-once, can lose messages
        if self.delivery_limit is not None:
            arguments["x-delivery-limit"] = self.delivery_limit
        if self.max_length is not None:
            arguments["x-max-length"] = self.max_length
        if self.single_active_consumer:
            arguments["x-single-active-consumer"] = True
        return arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingSpec:
    """A route from an exchange to a queue.

    Args:
        exchange: name of the exchange.
        queue: name of the queue.
        pattern: routing key (direct), pattern with ``*`` and ``#`` (topic), or empty (fanout).
    """

    exchange: str
    queue: str
    pattern: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """Everything that one installation needs on its broker.

    Args:
        exchanges: the exchanges, in the order in which they are declared.
        queues: the queues, in the order in which they are declared.
        bindings: the routes, made last.
        prefix: already part of every name; kept so that further queues and topics can be named alike.
    """

    exchanges: tuple[ExchangeSpec, ...]
    queues: tuple[QueueSpec, ...]
    bindings: tuple[BindingSpec, ...]
    prefix: str = ""

    def name(self, name: str) -> str:
        """Return a name as it stands on the broker, with the prefix of this topology."""
        return self.prefix + name

    def with_prefix(self, prefix: str) -> Topology:
        """Return the same topology under other names, so that several installations can share one broker.

        Args:
            prefix: put before every name, such as ``"staging."``.
        """
        return Topology(
            exchanges=tuple(replace(exchange, name=prefix + exchange.name) for exchange in self.exchanges),
            queues=tuple(
                replace(
                    queue,
                    name=prefix + queue.name,
                    dead_letter_exchange=queue.dead_letter_exchange and prefix + queue.dead_letter_exchange,
                )
                for queue in self.queues
            ),
            bindings=tuple(
                BindingSpec(
                    exchange=prefix + binding.exchange,
                    queue=prefix + binding.queue,
                    pattern=binding.pattern and prefix + binding.pattern,
                )
                for binding in self.bindings
            ),
            prefix=prefix + self.prefix,
        )


def _work_queue(name: str, max_length: int | None = None, *, single_active_consumer: bool = False) -> QueueSpec:
    return QueueSpec(
        name=name,
        dead_letter_exchange=DEAD_LETTER_EXCHANGE,
        delivery_limit=DELIVERY_LIMIT,
        max_length=max_length,
        single_active_consumer=single_active_consumer,
    )


NEXUS_TOPOLOGY = Topology(
    exchanges=(
        ExchangeSpec(name=MAIN_EXCHANGE, type="direct"),
        ExchangeSpec(name=INBOX_EXCHANGE, type="fanout"),
        ExchangeSpec(name=DEAD_LETTER_EXCHANGE, type="fanout"),
    ),
    queues=(
        QueueSpec(name=DEAD_LETTER_QUEUE),  # first: a dead letter must never find its target missing
        _work_queue(TRANSACTIONAL_QUEUE),
        _work_queue(LEASED_QUEUE),
        _work_queue(INBOX_QUEUE, INBOX_LENGTH),
    ),
    bindings=(
        BindingSpec(exchange=DEAD_LETTER_EXCHANGE, queue=DEAD_LETTER_QUEUE),
        BindingSpec(exchange=INBOX_EXCHANGE, queue=INBOX_QUEUE),
        BindingSpec(exchange=MAIN_EXCHANGE, queue=TRANSACTIONAL_QUEUE, pattern=TRANSACTIONAL_QUEUE),
        BindingSpec(exchange=MAIN_EXCHANGE, queue=LEASED_QUEUE, pattern=LEASED_QUEUE),
    ),
)


def partition_queue(number: int) -> str:
    """Return the name of a partition's queue, without prefix."""
    return f"{TRANSACTIONAL_QUEUE}.{number}"


def nexus_topology(prefix: str = "", partitions: int = 1) -> Topology:
    """Return the topology of Nexus, its names under a prefix.

    Args:
        prefix: put before every exchange, queue and routing key; empty for the plain names.
        partitions: queues among which the workflows of transactional agents are divided; 1 for the plain queue alone.
            It stays beside them: an earlier setting may have left something there.
    """
    topology = NEXUS_TOPOLOGY
    if partitions > 1:
        names = [partition_queue(number) for number in range(partitions)]
        topology = replace(
            topology,
            queues=(*topology.queues, *(_work_queue(name, single_active_consumer=True) for name in names)),
            bindings=(
                *topology.bindings,
                *(BindingSpec(exchange=MAIN_EXCHANGE, queue=name, pattern=name) for name in names),
            ),
        )
    return topology.with_prefix(prefix) if prefix else topology
