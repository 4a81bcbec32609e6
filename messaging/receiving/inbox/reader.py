"""Reads the inbox: takes what is there, stores what may be stored, refuses the rest visibly, then acknowledges.

A kill at any point loses nothing: what was not acknowledged comes again, and what was stored is known by its id.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from time import monotonic

from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.utils import timezone

from messaging.brokers import MessageBroker, ReceivedMessage, Subscription
from messaging.brokers.topology import INBOX_QUEUE
from messaging.conf import get_settings
from messaging.core.describing import name_of, storable
from messaging.core.errors import (
    BadSignature,
    BrokerError,
    ConfigurationError,
    EnvelopeError,
    NexusError,
    NotAuthorized,
    SchemaError,
    SchemaViolation,
    SendError,
    SigningKeyError,
    UnknownAgent,
)
from messaging.gate.passage import Stop, received_passage
from messaging.log.healing import LOST
from messaging.models import DeadReason
from messaging.outcomes import apply
from messaging.receiving.inbox.arriving import Arrival, check_arrivals, refusal
from messaging.receiving.inbox.pacing import Pace
from messaging.receiving.inbox.storing import store_arrivals
from messaging.receiving.refusing import reject
from messaging.security.signatures.keys import KeyElsewhere

logger = logging.getLogger("nexus.inbox")

BATCH = 100
MAX_WAITING = 100
"""Events that wait here because their program sends quicker than it may; beyond that they are refused."""
PAUSE = 5.0
"""Seconds until something is tried again that the installation cannot do as it is set up."""

NOT_NOW = (ConfigurationError, SchemaError, SigningKeyError, KeyElsewhere)
"""What is wrong with the installation, and not with what came."""

_REASONS: tuple[tuple[type[NexusError], DeadReason], ...] = (
    (BadSignature, DeadReason.NOT_AUTHENTIC),
    (EnvelopeError, DeadReason.INVALID_ENVELOPE),
    (SchemaViolation, DeadReason.SCHEMA),
    (NotAuthorized, DeadReason.NOT_AUTHORIZED),
    (UnknownAgent, DeadReason.UNKNOWN_AGENT),
    (SendError, DeadReason.NOT_ACCEPTED),
)


class InboxReader:
    """Reads the inbox for the leading relay.

    Args:
        broker: the transport.
    """

    def __init__(self, broker: MessageBroker) -> None:
        self._broker = broker
        self._subscription: Subscription | None = None
        self._unchecked: list[ReceivedMessage] = []
        self._refused: list[tuple[ReceivedMessage, Stop]] = []
        self._waiting: dict[tuple[str, str, str], Arrival] = {}
        self._paces: dict[str, Pace] = {}
        self._not_before = float("-inf")

    def read(self) -> int:
        """Settle what is in the inbox now, at most ``BATCH`` events; return how many.

        Raises:
            django.db.Error, BrokerError: one of the two failed; call again.
        """
        if monotonic() < self._not_before:
            return 0
        try:
            return self._read()
        except NOT_NOW as error:
            logger.error("The inbox waits, nothing in it is lost: %s", error)
            self._not_before = monotonic() + PAUSE
            return 0

    def close(self) -> None:
        """Give the subscription up: what is not settled goes back to the queue."""
        self._unchecked, self._refused = [], []
        self._waiting.clear()
        if self._subscription is not None:
            try:
                self._broker.unsubscribe(self._subscription)
            except BrokerError as error:
                logger.warning("Could not unsubscribe: %s", error)
            self._subscription = None

    def _read(self) -> int:
        if self._subscription is None:
            queue = get_settings().queue_prefix + INBOX_QUEUE
            self._subscription = self._broker.subscribe(queue, prefetch=BATCH + MAX_WAITING)
        if not self._unchecked:
            self._unchecked = self._broker.receive(self._subscription, limit=BATCH, timeout=0.0)
        self._check()
        ready = self._choose()
        settled = len(self._refused) + len(ready)
        self._refuse()
        self._store(ready)
        return settled

    def _check(self) -> None:
        """Verify what came; what passes waits for its turn."""
        if not self._unchecked:
            return
        for message, answer in zip(self._unchecked, check_arrivals(self._unchecked), strict=True):
            if isinstance(answer, Stop):
                self._refused.append((message, answer))
                continue
            key = (*answer.key, answer.digest)
            if key in self._waiting:  # handed out again after a lost connection, or sent twice: one of them will do
                self._broker.acknowledge([self._waiting[key].message])
            self._waiting[key] = answer
        self._unchecked = []

    def _choose(self) -> list[Arrival]:
        """What may be stored now, each program at its pace and in its order; what is too much to wait is refused."""
        now = monotonic()
        ready: list[Arrival] = []
        waiting: list[Arrival] = []
        late: set[str] = set()
        for arrival in self._waiting.values():
            if len(ready) == BATCH:
                break
            sender = arrival.sender
            pace = self._paces.setdefault(sender.name, Pace(sender.rate, now))
            if sender.name not in late and pace.take(now):
                ready.append(arrival)
            else:
                late.add(sender.name)
                waiting.append(arrival)
        for arrival in waiting[MAX_WAITING:]:
            self._refused.append((arrival.message, _too_quick(arrival)))
        self._forget([arrival.message for arrival in waiting[MAX_WAITING:]])
        return ready

    def _store(self, ready: Sequence[Arrival]) -> None:
        """Store together what can be stored; where one is refused, each by itself."""
        if not ready:
            return
        try:
            new = store_arrivals(ready)
        except NOT_NOW:
            raise
        except LOST:
            raise
        except Exception as error:  # noqa: BLE001 - what cannot be stored is refused, logged, and stops nothing else
            if len(ready) > 1:
                for arrival in ready:
                    self._store([arrival])
                return
            self._refused.append((ready[0].message, _stop(error)))
            self._refuse()
            return
        self._acknowledge([arrival.message for arrival in ready])
        logger.debug("Of %d events from outside %d are new.", len(ready), new)

    def _refuse(self) -> None:
        """Make each refusal a dead letter that keeps the bytes."""
        if not self._refused:
            return
        for detail, count in Counter(stop.detail for _, stop in self._refused).items():
            logger.warning("Refused %d events from outside: %s", count, detail)
        with transaction.atomic():
            apply([reject(received_passage(message), stop) for message, stop in self._refused], timezone.now())
        messages = [message for message, _ in self._refused]
        self._refused = []
        self._acknowledge(messages)

    def _acknowledge(self, messages: Sequence[ReceivedMessage]) -> None:
        self._forget(messages)
        self._broker.acknowledge(messages)

    def _forget(self, messages: Sequence[ReceivedMessage]) -> None:
        settled = {id(message) for message in messages}
        if settled:
            self._waiting = {
                key: arrival for key, arrival in self._waiting.items() if id(arrival.message) not in settled
            }


def _too_quick(arrival: Arrival) -> Stop:
    sender = arrival.sender
    return refusal(
        DeadReason.NOT_ACCEPTED,
        f"The program {sender.name!r} sends more than its {sender.rate:g} events a second, and {MAX_WAITING} wait "
        "already. Have it send more slowly, or register it with another rate.",
    )


def _stop(error: Exception) -> Stop:
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return refusal(reason, storable(str(error)))
    if isinstance(error, DatabaseError):
        connection.close()
    logger.error("An event from outside could not be stored.", exc_info=error)
    return refusal(DeadReason.CHECK_FAILED, f"Storing it raised {name_of(error)}; the relay's log has the traceback.")
