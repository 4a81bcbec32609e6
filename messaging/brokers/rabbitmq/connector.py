"""Opening connections to RabbitMQ, and knowing when trying is of no use."""

from __future__ import annotations

import sys
from collections.abc import Callable
from random import SystemRandom
from threading import Lock
from time import monotonic

from messaging.brokers.rabbitmq.endpoint import Endpoint
from messaging.brokers.rabbitmq.frames import FrameDelivery
from messaging.brokers.rabbitmq.link import LINK_ERRORS, Link
from messaging.core.backoff import RetryPolicy
from messaging.core.errors import BrokerUnavailable, ConfigurationError


class Connector:
    """Opens links to a broker, and knows when trying is of no use. Shared by all threads.

    After a failure it refuses at once until some time has passed: 0 to 0.1 s after the first, up to ``longest_delay``
    later (exponential, full jitter), so that callers on a hot path lose no time on a broker that is down.

    Args:
        url: one URL, or several joined by ``;`` for the nodes of a cluster, of which any will do.
        connect_timeout: seconds for each step of opening a link.
        longest_delay: seconds that it refuses at most.
    """

    _FIRST_DELAY = 0.1

    def __init__(self, url: str, *, connect_timeout: float, longest_delay: float) -> None:
        self._endpoints = [Endpoint.parse(part) for part in url.split(";") if part]
        if not self._endpoints:
            raise ConfigurationError("broker URL: expected amqp://user:password@host:port/vhost, got nothing")
        self.connect_timeout = connect_timeout
        self._backoff = RetryPolicy(max_attempts=sys.maxsize, base=self._FIRST_DELAY, cap=longest_delay)
        self.reset()

    def reset(self) -> None:
        """Forget about failures (and, after a fork, about locks that other threads held)."""
        self._lock = Lock()
        self._failures = 0
        self._not_before = 0.0
        self._last_error = ""

    @property
    def delay(self) -> float:
        """Seconds until it will try again; 0 if it would now."""
        return max(self._not_before - monotonic(), 0.0)

    @property
    def host(self) -> str:
        """The node that is used, or tried first."""
        return self._endpoints[0].host

    def open(
        self, name: str, *, heartbeat: float = 0, on_delivery: Callable[[FrameDelivery], None] | None = None
    ) -> Link:
        """Open a link.

        Raises:
            BrokerUnavailable: no node answered, or none did a moment ago.
        """
        with self._lock:
            if self._failures:
                if self.delay:
                    raise BrokerUnavailable(
                        f"RabbitMQ at {self.host} is down ({self._last_error}); trying again in {self.delay:.1f} s"
                    )
                self._not_before = monotonic() + self.connect_timeout  # one thread tries, the others go on
            endpoints = list(self._endpoints)
        problem = ""
        for endpoint in endpoints:
            try:
                link = Link(
                    endpoint,
                    name=name,
                    connect_timeout=self.connect_timeout,
                    heartbeat=heartbeat,
                    on_delivery=on_delivery,
                )
            except LINK_ERRORS as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            with self._lock:
                self._failures, self._not_before = 0, 0.0
                self._endpoints.sort(key=lambda known: known is not endpoint)
            return link
        with self._lock:
            self._failures += 1
            self._not_before = monotonic() + self._backoff.delay(self._failures, SystemRandom())
            self._last_error = problem
        raise BrokerUnavailable(
            f"RabbitMQ at {self.host} cannot be reached ({problem}); is it running, is the URL right?"
        )
