"""Publishing: hand stored deliveries to the broker, and mark what it confirmed.

Nothing here can lose a message. A delivery is PENDING in the log until a confirm came; whatever fails here stays so,
and the relay publishes it when ``available_at`` comes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from time import monotonic
from uuid import UUID

from django.utils import timezone

from messaging.brokers import Confirmation, MessageBroker
from messaging.conf import get_settings
from messaging.core.errors import BrokerError
from messaging.models import log
from messaging.sending import wire

logger = logging.getLogger("nexus.publisher")


class Publisher:
    """Publishes from one thread, pipelined: ``begin`` writes a burst, ``collect`` marks what was confirmed since.

    Args:
        broker: the transport.
        mark_every: seconds between two marks at least. Most deliveries are handled before, and then need no mark.
    """

    def __init__(self, broker: MessageBroker, *, mark_every: float = 0.25) -> None:
        self._broker = broker
        self._mark_every = mark_every
        self._confirmed: list[UUID] = []
        self._marked_at = monotonic()

    def begin(self, deliveries: Sequence[log.StoredDelivery]) -> None:
        """Write a burst without waiting. A broker that is down costs nothing but a log line: the relay takes over."""
        if not deliveries:
            return
        try:
            self._broker.publish_begin([wire.delivery_message(stored) for stored in deliveries])
        except BrokerError as error:
            logger.warning("%d deliveries wait for the relay: %s", len(deliveries), error)

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
        self.mark()

    def mark(self) -> None:
        """Mark confirmed deliveries SENT."""
        confirmed, self._confirmed = self._confirmed, []
        self._marked_at = monotonic()
        if confirmed:
            log.mark_sent(confirmed, timezone.now() + timedelta(seconds=get_settings().redelivery_after))

    def _note(self, confirmations: dict[str, Confirmation]) -> None:
        returned = 0
        for identifier, confirmation in confirmations.items():
            if confirmation is Confirmation.CONFIRMED:
                self._confirmed.append(UUID(identifier))
            elif confirmation is Confirmation.RETURNED:
                returned += 1
        if returned:
            logger.error("The broker has no queue for %d deliveries; declaring exchanges and queues again.", returned)
            try:
                self._broker.initialize()
            except BrokerError as error:
                logger.warning("Could not declare: %s", error)
