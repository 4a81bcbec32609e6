"""Shares: which of the partitions a consumer reads, so that all consumers have about as many.

Every consumer subscribes to every partition, and RabbitMQ hands a partition's messages to one of them: to the one that
came first, which would be the worker that was started first, for all partitions. So consumers agree on who is to
read which: each looks at the status rows of all, and who gets messages of another one's partition goes to the end of
the line. Nothing but speed depends on it: whoever is active handles what comes, and when it dies the next one in the
line is active at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from time import monotonic
from uuid import UUID

from django.utils import timezone

from messaging.brokers import MessageBroker, Subscription
from messaging.core.partitions import owner_of
from messaging.models import WorkerStatus
from messaging.models.worker import SILENT_AFTER

LOOK_EVERY = 5.0
"""Seconds between two looks at who else is at work."""

AGAIN_AFTER = 10.0
"""Seconds after which a consumer gives way once more to one that has not got its partition: it may be dead, or may have
come to the end of the line by itself."""


class PartitionShares:
    """The partitions of one consumer.

    Args:
        broker: the transport.
        queues: names of the partitions' queues, in their order; none where the queue is not divided.
    """

    def __init__(self, broker: MessageBroker, queues: Iterable[str]) -> None:
        self._broker = broker
        self._numbers = {queue: number for number, queue in enumerate(queues)}
        self._came: set[str] = set()
        self._gave_way: dict[str, tuple[UUID, float]] = {}
        self._looked_at = float("-inf")
        self._own_since: dict[str, float] = {}

    def note(self, queues: Iterable[str]) -> None:
        """Note from which queues something came."""
        if self._numbers:
            self._came.update(queues)

    @property
    def foreign(self) -> frozenset[str]:
        """Queues that another consumer is to read."""
        return frozenset(self._numbers.keys() - self._own_since.keys())

    def quiet(self, since: float) -> frozenset[str]:
        """Queues whose silence since a time (of ``monotonic``) is no fault: another one's, or taken over later.

        Any thread may call it.
        """
        own_since = self._own_since
        return frozenset(queue for queue in self._numbers if own_since.get(queue, inf) >= since)

    def balance(self, own_id: UUID | None, subscriptions: Mapping[str, Subscription]) -> None:
        """Give way where another consumer is to read, if it is time to look.

        Args:
            own_id: of this consumer's status row; None before it is written.
            subscriptions: of this consumer, by queue.

        Raises:
            BrokerError: the broker cannot be reached.
            TopologyMismatch: somebody deleted a queue.
            django.db.Error: the database failed.
        """
        now = monotonic()
        if not self._numbers or own_id is None or now - self._looked_at < LOOK_EVERY:
            return
        self._looked_at = now
        consumers = self._consumers() | {own_id}
        owners = {queue: owner_of(number, tuple(consumers)) for queue, number in self._numbers.items()}
        self._own_since = {queue: self._own_since.get(queue, now) for queue, owner in owners.items() if owner == own_id}
        for queue in sorted(self._came & self.foreign & subscriptions.keys()):
            to, at = self._gave_way.get(queue, (None, 0.0))
            if to != owners[queue] or now - at >= AGAIN_AFTER:
                self._gave_way[queue] = (owners[queue], now)
                self._broker.give_way(subscriptions[queue])
        self._came.clear()

    def _consumers(self) -> set[UUID]:
        alive = WorkerStatus.objects.filter(stopped_at=None, heartbeat_at__gt=timezone.now() - SILENT_AFTER)
        return set(alive.filter(partitions=len(self._numbers)).values_list("id", flat=True))
