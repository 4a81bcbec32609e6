"""Publishing: hand stored deliveries to the broker, and mark what it confirmed.

Nothing here can lose a message. A delivery is PENDING in the log until a confirm came; whatever fails here stays so,
and the relay publishes it when ``available_at`` comes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from hashlib import sha256
from time import monotonic
from uuid import UUID

from django.utils import timezone

from messaging import log
from messaging.brokers import Confirmation, MessageBroker
from messaging.conf import get_settings
from messaging.core import tracing
from messaging.core.breaker import CircuitBreaker
from messaging.core.errors import BrokerError, CircuitOpen
from messaging.core.message_spans import publishing
from messaging.transport import wire
from messaging.transport.breakers import get_breaker

logger = logging.getLogger("nexus.publisher")


def broker_breaker() -> CircuitBreaker:
    """The circuit breaker around publishing to the configured broker: while it is open, the relay publishes alone."""
    settings = get_settings()
    # Installations may share a Redis; the URL itself holds a password.
    which = sha256(f"{settings.broker_url} {settings.queue_prefix}".encode()).hexdigest()[:8]
    return get_breaker(f"broker {which}", failures=settings.breaker_failures, reset_after=settings.breaker_reset)


def note_answers(breaker: CircuitBreaker, confirmations: Mapping[str, Confirmation]) -> None:
    """Tell the breaker whether the broker answered: a refusal is an answer, silence is none."""
    if any(confirmation is not Confirmation.UNKNOWN for confirmation in confirmations.values()):
        breaker.succeed()
    else:
        breaker.fail()


class Publisher:
    """Publishes from one thread, pipelined: ``begin`` writes a burst, ``collect`` marks what was confirmed since.

    Args:
        broker: the transport.
        mark_every: seconds between two marks at least. Most deliveries are handled before, and then need no mark.
    """

    def __init__(self, broker: MessageBroker, *, mark_every: float = 0.25) -> None:
        self._broker = broker
        self._breaker = broker_breaker()
        self._mark_every = mark_every
        self._confirmed: list[UUID] = []
        self._first_tries: dict[str, log.StoredDelivery] = {}
        self._marked_at = monotonic()

    @property
    def outstanding(self) -> int:
        """How many were written about which nothing is known yet."""
        return self._broker.outstanding

    @property
    def unmarked(self) -> int:
        """How many were confirmed and are not marked yet."""
        return len(self._confirmed)

    def begin(self, deliveries: Sequence[log.StoredDelivery]) -> None:
        """Write a burst without waiting. A broker that is down costs nothing but a log line: the relay takes over.

        What the broker returns because nobody has declared the queues yet is written once more after they are declared.
        """
        if not self._broker.outstanding:
            self._first_tries.clear()  # of those nothing will be known any more
        self._first_tries.update((str(stored.id), stored) for stored in deliveries)
        self._write(deliveries)

    def _write(self, deliveries: Sequence[log.StoredDelivery]) -> None:
        if not deliveries:
            return
        try:
            self._breaker.allow()
        except CircuitOpen:
            return  # said when it opened; the relay takes them
        spans = publishing([(stored.body, stored.queue) for stored in deliveries]) if tracing.is_on() else []
        try:
            self._broker.publish_begin([wire.delivery_message(stored) for stored in deliveries])
        except BrokerError as error:
            self._breaker.fail()
            logger.warning("%d deliveries wait for the relay: %s", len(deliveries), error)
        except BaseException:
            self._breaker.cancel()
            raise
        finally:
            for span in spans:
                span.end()

    def collect(self, timeout: float = 0.0) -> None:
        """Take in the confirms that came within ``timeout`` seconds, and mark them now and then."""
        if self._broker.outstanding:
            self._note(self._broker.publish_collect(timeout))
        if self._confirmed and monotonic() - self._marked_at >= self._mark_every:
            self.mark()

    def flush(self, timeout: float) -> None:
        """Wait for every confirm, at most ``timeout`` seconds, and mark them."""
        deadline = monotonic() + timeout
        while self._broker.outstanding and monotonic() < deadline:
            self._note(self._broker.publish_collect(max(0.0, deadline - monotonic())))
        if self._broker.outstanding:
            self._breaker.fail()
        self.mark()

    def mark(self) -> None:
        """Mark confirmed deliveries SENT."""
        confirmed, self._confirmed = self._confirmed, []
        self._marked_at = monotonic()
        if confirmed:
            log.mark_sent(confirmed, timezone.now() + timedelta(seconds=get_settings().redelivery_after))

    def _note(self, confirmations: dict[str, Confirmation]) -> None:
        if confirmations:
            note_answers(self._breaker, confirmations)
        returned: list[log.StoredDelivery | None] = []
        for identifier, confirmation in confirmations.items():
            first_try = self._first_tries.pop(identifier, None)
            if confirmation is Confirmation.CONFIRMED:
                self._confirmed.append(UUID(identifier))
            elif confirmation is Confirmation.RETURNED:
                returned.append(first_try)
        if returned:
            logger.warning("The broker has no queue for %d deliveries; declaring exchanges and queues.", len(returned))
            try:
                self._broker.initialize()
            except BrokerError as error:
                logger.warning("Could not declare: %s", error)
            else:
                self._write([stored for stored in returned if stored is not None])
