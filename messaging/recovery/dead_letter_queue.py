"""From the broker's dead-letter queue to the dead letters that operators see.

What the broker gave up although the log knows it as unhandled goes back to PENDING. Everything else gets a DeadLetter
row with its raw bytes and the reason, once, and only then leaves the queue.
"""

from __future__ import annotations

import logging

from django.db import transaction
from django.utils import timezone

from messaging.brokers import MessageBroker, ReceivedMessage, Subscription
from messaging.brokers.topology import DEAD_LETTER_QUEUE
from messaging.conf import get_settings
from messaging.core.errors import BrokerError
from messaging.core.outcome import Outcome
from messaging.gate.passage import Passage, Stop, received_passage
from messaging.gate.receiving import admit_again
from messaging.models import DeadReason, Delivery, DeliveryState
from messaging.outcomes import Decision, apply
from messaging.receiving.refusing import reject, settle_stopped
from messaging.transport import wire

logger = logging.getLogger("nexus.relay")

BATCH = 100


def store(message: ReceivedMessage) -> None:
    """Make a dead-lettered message durable: it passes the gate like any other, then its outcome is applied.

    No verification rule is asked here: what was not judged goes back to a worker, and no rule can end the relay.

    Raises:
        django.db.Error: the database failed; call again.
    """
    if message.headers.get("task") == wire.MARK_TASK:
        return  # the relay sends another
    passage = received_passage(message)
    admit_again([passage])
    if passage.stop is not None:
        settle_stopped([passage])
        return
    decision = _decide(passage)
    if decision is not None:
        with transaction.atomic():
            apply([decision], timezone.now())


def _decide(passage: Passage) -> Decision | None:
    """The broker's count says nothing about a delivery: it charges every message that a dying worker held."""
    state = Delivery.objects.filter(pk=passage.delivery_id).values_list("state", flat=True).first()
    if state is None:
        return reject(passage, Stop(Outcome.REJECTED, DeadReason.UNKNOWN_DELIVERY, "The log has no such delivery."))
    return Decision(Outcome.RETRY, passage.delivery_id) if state == DeliveryState.SENT else None


class DeadLetterReader:
    """Reads the dead-letter queue for the leading relay.

    Args:
        broker: the transport.
    """

    def __init__(self, broker: MessageBroker) -> None:
        self._broker = broker
        self._subscription: Subscription | None = None

    def read(self) -> int:
        """Store what is in the queue now, at most 100 messages; return how many."""
        if self._subscription is None:
            queue = get_settings().queue_prefix + DEAD_LETTER_QUEUE
            self._subscription = self._broker.subscribe(queue, prefetch=BATCH)
        received = self._broker.receive(self._subscription, limit=BATCH, timeout=0.0)
        for message in received:
            store(message)
        if received:
            self._broker.acknowledge(received)
            logger.warning("%d messages came from the dead-letter queue.", len(received))
        return len(received)

    def close(self) -> None:
        """Give the subscription up."""
        if self._subscription is not None:
            try:
                self._broker.unsubscribe(self._subscription)
            except BrokerError as error:
                logger.warning("Could not unsubscribe: %s", error)
            self._subscription = None
