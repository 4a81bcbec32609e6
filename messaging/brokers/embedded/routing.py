"""Routing as RabbitMQ does it: which queues get a message that was published to an exchange."""

from __future__ import annotations

import sqlite3
from functools import lru_cache

from messaging.brokers.topology import BindingSpec, ExchangeSpec, QueueSpec
from messaging.core.errors import TopologyMismatch


@lru_cache(maxsize=4096)
def matches(pattern: str, routing_key: str) -> bool:
    """Return whether a routing key fits a topic pattern.

    >>> matches("order.*.created", "order.eu.created"), matches("order.#", "order"), matches("*", "order.eu")
    (True, True, False)
    """
    words = routing_key.split(".") if routing_key else []
    ends = {0}  # numbers of words that the pattern so far can have used up
    for part in pattern.split(".") if pattern else []:
        if part == "#":
            ends = set(range(min(ends, default=len(words) + 1), len(words) + 1))
        else:
            ends = {end + 1 for end in ends if end < len(words) and part in ("*", words[end])}
    return len(words) in ends


def route(connection: sqlite3.Connection, exchange: str, routing_key: str) -> list[str] | None:
    """Return the names of the queues that get a message, or None when there is no such exchange."""
    if not exchange:  # the default exchange routes by the queue's name
        return [name for (name,) in connection.execute("SELECT name FROM queue WHERE name = ?", (routing_key,))]
    found = connection.execute("SELECT type FROM exchange WHERE name = ?", (exchange,)).fetchone()
    if found is None:
        return None
    bindings = connection.execute("SELECT queue, pattern FROM binding WHERE exchange = ? ORDER BY queue", (exchange,))
    if found[0] == "fanout":
        queues = [queue for queue, _ in bindings]
    elif found[0] == "topic":
        queues = [queue for queue, pattern in bindings if matches(pattern, routing_key)]
    else:
        queues = [queue for queue, pattern in bindings if pattern == routing_key]
    return list(dict.fromkeys(queues))


def declare_exchange(connection: sqlite3.Connection, exchange: ExchangeSpec) -> None:
    """Create an exchange unless it exists; TopologyMismatch when it exists with another type."""
    connection.execute("INSERT OR IGNORE INTO exchange VALUES (?, ?)", (exchange.name, exchange.type))
    (type_,) = connection.execute("SELECT type FROM exchange WHERE name = ?", (exchange.name,)).fetchone()
    if type_ != exchange.type:
        raise TopologyMismatch(
            f"exchange {exchange.name!r} exists as {type_}, not {exchange.type}; delete the broker's file "
            "(the log publishes again what it held) or set another prefix for this installation"
        )


def declare_queue(connection: sqlite3.Connection, queue: QueueSpec) -> None:
    """Create a queue unless it exists; TopologyMismatch when it exists with other arguments."""
    wanted = (queue.name, queue.dead_letter_exchange, queue.delivery_limit, queue.max_length)
    connection.execute("INSERT OR IGNORE INTO queue VALUES (?, ?, ?, ?)", wanted)
    found = connection.execute("SELECT * FROM queue WHERE name = ?", (queue.name,)).fetchone()
    if found != wanted:
        raise TopologyMismatch(
            f"queue {queue.name!r} exists with other arguments: (dead-letter exchange, delivery limit, max length) is "
            f"{found[1:]}, not {wanted[1:]}; delete the broker's file (the log publishes again what it held) or set "
            "another prefix for this installation"
        )


def bind(connection: sqlite3.Connection, binding: BindingSpec) -> None:
    """Create a binding unless it exists; TopologyMismatch when its queue or exchange does not exist."""
    for kind, name in (("exchange", binding.exchange), ("queue", binding.queue)):
        if connection.execute(f"SELECT 1 FROM {kind} WHERE name = ?", (name,)).fetchone() is None:
            raise TopologyMismatch(
                f"cannot bind {binding.queue!r} to {binding.exchange!r}: no {kind} {name!r}; create it first"
            )
    connection.execute(
        "INSERT OR IGNORE INTO binding VALUES (?, ?, ?)", (binding.exchange, binding.queue, binding.pattern)
    )
