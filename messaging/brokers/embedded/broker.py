"""EmbeddedBroker: a message broker without a server, on a SQLite file."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

from messaging.brokers.base import (
    BrokerHealth,
    Confirmation,
    MessageBroker,
    OutgoingMessage,
    ReceivedMessage,
    Subscription,
)
from messaging.brokers.embedded import claims, routing
from messaging.brokers.embedded.owners import new_owner
from messaging.brokers.embedded.store import FileStore, Store
from messaging.brokers.topology import NEXUS_TOPOLOGY, BindingSpec, ExchangeSpec, QueueSpec, Topology
from messaging.core.errors import BrokerUnavailable, TopologyMismatch

_STALE_CHECK_SECONDS = 1.0


class _Hold:
    """What one subscription holds: the owner of its claims, and how many there are."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.owner = new_owner()
        self.tags: set[int] = set()


class _ThreadState(threading.local):
    def __init__(self) -> None:
        self.process = os.getpid()
        self.turn = 0
        self.known: dict[str, Confirmation] = {}
        self.holds: list[_Hold] = []


class EmbeddedBroker(MessageBroker):
    """A broker for one machine: several processes share a file.

    A message is claimed by the subscription that receives it and deleted when acknowledged. Claims of dead processes,
    and claims older than the visibility timeout, are released, and the messages handed out again. Nothing is synced
    to the disk: the log is the truth, and publishes again what a power cut takes.

    Args:
        path: the file; made when it is missing.
        topology: what ``initialize()`` creates.
        poll_interval: seconds between two looks at an empty queue; a message from this process is seen at once.
        visibility_timeout: seconds that a message may be held unacknowledged.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        topology: Topology = NEXUS_TOPOLOGY,
        poll_interval: float = 0.01,
        visibility_timeout: float = 600.0,
    ) -> None:
        super().__init__(topology)
        self._name = f"embedded broker {path}"
        self._poll_interval = poll_interval
        self._visibility_timeout = visibility_timeout
        self._declared: list[ExchangeSpec | QueueSpec | BindingSpec] = []
        self._store = self._open_store(path)
        self._published = threading.Condition()
        self._process = os.getpid()
        self._next_stale_check = 0.0
        self._local = _ThreadState()

    def _open_store(self, path: str | Path) -> Store:
        return FileStore(Path(path), self._declare_again)

    # -- topology

    def initialize(self) -> None:
        self._declare(*self.topology.exchanges, *self.topology.queues, *self.topology.bindings)

    def create_queue(self, queue: QueueSpec) -> None:
        self._declare(queue)

    def create_topic(self, name: str) -> None:
        self._declare(ExchangeSpec(name=name, type="topic"))

    def bind(self, queue: str, topic: str, pattern: str) -> None:
        self._declare(BindingSpec(exchange=topic, queue=queue, pattern=pattern))

    def queue_depth(self, queue: str) -> int:
        with self._store.connection() as connection:
            self._require_queue(connection, queue)
            return claims.count_ready(connection, queue)

    def _declare(self, *specs: ExchangeSpec | QueueSpec | BindingSpec) -> None:
        with self._store.transaction() as connection:
            for spec in specs:
                _declare_one(connection, spec)
        self._declared += [spec for spec in specs if spec not in self._declared]

    def _declare_again(self, connection: sqlite3.Connection) -> None:
        for spec in self._declared:
            _declare_one(connection, spec)

    @staticmethod
    def _require_queue(connection: sqlite3.Connection, queue: str) -> None:
        if connection.execute("SELECT 1 FROM queue WHERE name = ?", (queue,)).fetchone() is None:
            raise TopologyMismatch(f"queue {queue!r} does not exist; call initialize() first")

    # -- publishing

    def publish_begin(self, messages: Sequence[OutgoingMessage]) -> None:
        with self._store.transaction() as connection:
            known = claims.publish(connection, messages)
        self._state().known.update(known)
        condition = self._arrivals()
        with condition:
            condition.notify_all()

    def publish_collect(self, timeout: float) -> dict[str, Confirmation]:
        known = dict(self._state().known)
        self._forget_outstanding()
        return known

    @property
    def outstanding(self) -> int:
        return len(self._state().known)

    def _forget_outstanding(self) -> None:
        self._state().known.clear()

    def _state(self) -> _ThreadState:
        if self._local.process != os.getpid():
            self._local.process, self._local.known, self._local.holds = os.getpid(), {}, []
        return self._local

    def _arrivals(self) -> threading.Condition:
        if self._process != os.getpid():
            self._process = os.getpid()
            self._published = threading.Condition()  # a thread of the parent may have held the old one
        return self._published

    # -- receiving

    def subscribe(self, queue: str, *, prefetch: int) -> Subscription:
        with self._store.connection() as connection:
            self._require_queue(connection, queue)
        subscription = Subscription(queue=queue, prefetch=prefetch)
        self._hold(subscription)
        return subscription

    def receive(self, *subscriptions: Subscription, limit: int, timeout: float) -> list[ReceivedMessage]:
        deadline = monotonic() + timeout
        condition = self._arrivals()
        seen: Any = None
        while True:
            with self._store.connection() as connection:
                self._release_stale(connection)
                changes = self._store.changes(connection)
            if changes != seen:
                seen = changes
                messages = self._claim(subscriptions, limit)
                if messages:
                    return messages
            patience = min(deadline - monotonic(), self._poll_interval)
            if patience <= 0:
                return []
            with condition:
                condition.wait(patience)

    def _claim(self, subscriptions: Sequence[Subscription], limit: int) -> list[ReceivedMessage]:
        messages: list[ReceivedMessage] = []
        state = self._state()
        state.turn += 1
        for index in range(len(subscriptions)):
            subscription = subscriptions[(index + state.turn) % len(subscriptions)]  # a full queue starves no other
            hold = self._hold(subscription)
            room = min(limit - len(messages), subscription.prefetch - len(hold.tags))
            if room <= 0:
                continue
            with self._store.connection() as connection:
                if not claims.has_ready(connection, subscription.queue):
                    continue
            with self._store.transaction() as connection:
                rows = claims.claim(connection, subscription.queue, hold.owner, room)
            for tag, body, headers, content_type, deliveries in rows:
                hold.tags.add(tag)
                messages.append(
                    ReceivedMessage(
                        queue=subscription.queue,
                        body=body,
                        headers=claims.decode_headers(headers),
                        content_type=content_type,
                        redelivered=deliveries > 1,
                        tag=tag,
                        _handle=hold,
                    )
                )
        return messages

    def _hold(self, subscription: Subscription) -> _Hold:
        hold: _Hold | None = subscription._handle
        if hold is None or hold.process != os.getpid():
            hold = subscription._handle = _Hold()
            self._state().holds.append(hold)
        return hold

    def _release_stale(self, connection: sqlite3.Connection) -> None:
        if monotonic() < self._next_stale_check:
            return
        self._next_stale_check = monotonic() + _STALE_CHECK_SECONDS
        owners = claims.stale_owners(connection, self._visibility_timeout)
        if owners:
            with self._store.transaction() as writing:
                claims.release_stale(writing, owners, self._visibility_timeout)

    def acknowledge(self, messages: Sequence[ReceivedMessage]) -> None:
        tags: dict[_Hold, list[int]] = {}
        for message in messages:
            tags.setdefault(message._handle, []).append(message.tag)
        mine = [hold for hold in tags if hold.process == os.getpid()]
        if mine:
            with self._store.transaction() as connection:
                for hold in mine:
                    claims.settle(connection, hold.owner, tags[hold])
            for hold in mine:
                hold.tags.difference_update(tags[hold])

    def negative_acknowledge(self, message: ReceivedMessage, *, requeue: bool) -> None:
        hold: _Hold = message._handle
        if hold.process != os.getpid() or message.tag not in hold.tags:
            return
        with self._store.transaction() as connection:
            if requeue:
                claims.release(connection, hold.owner, message.tag)
            else:
                claims.reject(connection, hold.owner, message.tag)
        hold.tags.discard(message.tag)

    def unsubscribe(self, subscription: Subscription) -> None:
        hold: _Hold | None = subscription._handle
        subscription._handle = None
        if hold is not None and hold in self._state().holds:
            self._state().holds.remove(hold)
            self._release(hold)

    def _release(self, hold: _Hold) -> None:
        if hold.tags:
            with self._store.transaction() as connection:
                claims.release(connection, hold.owner)
            hold.tags.clear()

    # -- state

    def health_check(self) -> BrokerHealth:
        start = monotonic()
        try:
            with self._store.transaction() as connection:
                connection.execute("SELECT count(*) FROM queue").fetchone()
        except BrokerUnavailable as error:
            return BrokerHealth(ok=False, detail=str(error), latency=monotonic() - start)
        return BrokerHealth(ok=True, detail=f"{self._name} can be written", latency=monotonic() - start)

    def close(self) -> None:
        with suppress(BrokerUnavailable):  # then the messages come again when this process ends
            for hold in self._state().holds:
                self._release(hold)
        self._store.close()


def _declare_one(connection: sqlite3.Connection, spec: ExchangeSpec | QueueSpec | BindingSpec) -> None:
    if isinstance(spec, ExchangeSpec):
        routing.declare_exchange(connection, spec)
    elif isinstance(spec, QueueSpec):
        routing.declare_queue(connection, spec)
    else:
        routing.bind(connection, spec)
