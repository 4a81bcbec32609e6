"""The window of a process that publishes in the background: bursts that are written, and not known to be confirmed."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from messaging.log import StoredDelivery
from messaging.transport.publisher import Publisher

MAX_UNCONFIRMED = 5_000
"""Deliveries without a confirm, beyond which the next burst waits for those before it."""


class PublishingWindow:
    """Writes bursts without waiting for the confirms of those before, and marks what was confirmed.

    Nothing depends on a confirm that never comes: its delivery stays PENDING in the log, and the relay publishes it.

    Args:
        publisher: of the calling thread.
        timeout: seconds without any confirm after which the broker counts as silent.
    """

    def __init__(self, publisher: Publisher, timeout: float) -> None:
        self._publisher = publisher
        self._timeout = timeout
        self._heard_at = monotonic()
        self._open = 0

    @property
    def idle(self) -> bool:
        """Whether there is nothing to collect or to mark."""
        return not (self._open or self._publisher.outstanding or self._publisher.unmarked)

    def write(self, deliveries: Sequence[StoredDelivery]) -> None:
        """Write a burst. Where too much is unconfirmed, wait for that first, at most ``timeout`` seconds."""
        if self._publisher.outstanding > MAX_UNCONFIRMED:
            self._publisher.flush(self._timeout)
        if not self._publisher.outstanding:
            self._heard_at = monotonic()
        self._open += len(deliveries)
        self._publisher.begin(deliveries)

    def collect(self, *, wait: bool) -> int:
        """Take in confirms, and mark what they are about: now and then, or at once.

        Args:
            wait: wait for every confirm, ``timeout`` seconds at most, and mark at once.

        Returns:
            Of how many deliveries more it is now clear that they are marked, or left to the relay.
        """
        before = self._publisher.outstanding
        if wait:
            self._publisher.flush(self._timeout)
            return self.give_up()
        self._publisher.collect()
        now, outstanding = monotonic(), self._publisher.outstanding
        if outstanding < before:
            self._heard_at = now
        elif outstanding and now - self._heard_at > self._timeout:
            self._publisher.flush(0.0)  # tells the circuit breaker
            self._heard_at = now
            return self.give_up()
        return 0 if outstanding or self._publisher.unmarked else self.give_up()

    def give_up(self) -> int:
        """Leave what is open to the relay; return how many deliveries that are."""
        done, self._open = self._open, 0
        return done
