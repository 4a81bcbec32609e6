"""Publishing with pipelined confirms: write a burst, collect later what the broker says about each message.

py-amqp's own confirm mode waits for each message and cannot tell whose confirm it got; here every message has its
number:

    written as 1 2 3 4 5       the broker counts in the same way
    return(message id of 2)    no queue for it: this comes first …
    ack(3, multiple)           … and then its number, like the others: 1 CONFIRMED, 2 RETURNED, 3 CONFIRMED
    nack(4)                    4 REFUSED
    connection lost            5 UNKNOWN

A bundle has one number, and what the broker says about it is said of each message in it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from itertools import chain
from time import monotonic
from typing import Any

from amqp.exceptions import NotFound

from messaging.brokers.base import Confirmation, OutgoingMessage
from messaging.brokers.rabbitmq.bundles import carriers
from messaging.brokers.rabbitmq.connector import Connector
from messaging.brokers.rabbitmq.frames import encode_publish
from messaging.brokers.rabbitmq.link import LINK_ERRORS, Link
from messaging.core.errors import BrokerBlocked, BrokerUnavailable

logger = logging.getLogger(__name__)

_CONGESTION_PATIENCE = 1.0
"""Seconds that a burst waits for the one before it to leave this process."""

_MAX_SILENCE = 15.0
"""Seconds after which a confirm that is missing, without an alarm, counts as lost, and its connection as broken.

Confirms come in milliseconds, in seconds on a broker that is overloaded. Without this limit a connection that loses
what the broker answers would be used for ever, and every message published again by the relay.
"""


class PublishingSide:
    """The publishing side of one thread: a connection of its own, in confirm mode.

    It has no heartbeat, because nobody would send it while the thread does something else; deadlines and TCP find out
    about a dead connection.

    Args:
        connector: opens the connection.
        name: shown by the broker's management as the connection's name.
    """

    def __init__(self, connector: Connector, name: str) -> None:
        self._connector = connector
        self._name = name
        self._link: Link | None = None
        self._channel: Any = None
        self._last_number = 0
        self._pending: dict[int, tuple[str, ...]] = {}  # in the order of publishing
        self._unconfirmed = 0  # messages in them
        self._bursts: deque[tuple[int, float]] = deque()  # (last number, when it was written)
        self._returned: set[str] = set()
        self._known: dict[str, Confirmation] = {}

    @property
    def outstanding(self) -> int:
        """Number of messages about which nothing is known yet, or what is known was not collected."""
        return self._unconfirmed + len(self._known)

    @property
    def blocked(self) -> bool:
        """Whether the broker is known to take no messages."""
        return self._link is not None and self._link.blocked

    def begin(self, messages: Sequence[OutgoingMessage]) -> None:
        """Write a burst.

        Raises:
            BrokerUnavailable: there is no connection; nothing was written.
            BrokerBlocked: the broker has an alarm or does not take bytes; nothing was written.
        """
        link = self._ready_link()
        parts: list[bytes] = []
        number = self._channel.channel_id
        written = carriers(messages)
        for carrier, _ in written:
            encode_publish(parts, carrier, number, link.frame_max)
        for tag, (_, identifiers) in enumerate(written, self._last_number + 1):
            self._pending[tag] = identifiers
        self._unconfirmed += len(messages)
        self._last_number += len(written)
        self._bursts.append((self._last_number, monotonic()))
        try:
            link.write_without_waiting(b"".join(parts))
        except LINK_ERRORS as error:
            self._lose(error)

    def collect(self, timeout: float) -> dict[str, Confirmation]:
        """Return what became known, waiting for it ``timeout`` seconds at most."""
        deadline = monotonic() + timeout
        patience = 0.0 if self._known else timeout
        while self._link is not None and self._pending:
            try:
                self._link.pump(patience)
            except LINK_ERRORS as error:
                self._lose(error)
            patience = deadline - monotonic()
            if self._known or patience <= 0:
                break
        self._notice_silence()
        known, self._known = self._known, {}
        return known

    def _notice_silence(self) -> None:
        oldest = next(iter(self._pending), None)
        while self._bursts and (oldest is None or self._bursts[0][0] < oldest):
            self._bursts.popleft()
        if self._link is None or not self._bursts:
            return
        if self._link.blocked:  # an alarm: they come once it is over
            last_number, _ = self._bursts[-1]
            self._bursts = deque([(last_number, monotonic())])
        elif monotonic() - self._bursts[0][1] > _MAX_SILENCE:
            self._lose(TimeoutError(f"no confirm for {_MAX_SILENCE:g} s"))

    def forget(self) -> None:
        """Stop waiting for what is outstanding, on a connection of no more use unless the broker has an alarm."""
        if self._pending and self._link is not None and not self._link.blocked:
            self._lose(TimeoutError("the broker did not confirm in time"))
        self._clear_pending()
        self._known.clear()

    def close(self) -> None:
        """Close the connection; what is outstanding becomes UNKNOWN."""
        if self._link is not None:
            self._link.close()
        self._disconnect()

    def abandon(self) -> None:
        """Let go of a connection that the parent process uses."""
        if self._link is not None:
            self._link.drop()

    def _ready_link(self) -> Link:
        if self._link is not None:
            self._notice_what_happened(self._link)
        if self._link is None:
            return self._connect()
        if self._link.blocked:
            raise BrokerBlocked(
                "RabbitMQ takes no messages now: it has a memory or disk alarm. They stay in the log until it is over"
            )
        if self._link.congested:
            raise BrokerBlocked("RabbitMQ does not take the bytes of the burst before this one; is it overloaded?")
        return self._link

    def _notice_what_happened(self, link: Link) -> None:
        deadline = monotonic() + _CONGESTION_PATIENCE
        try:
            link.pump(0)
            while link.congested and not link.blocked and (patience := deadline - monotonic()) > 0:
                link.pump(patience)
        except LINK_ERRORS as error:
            self._lose(error)

    def _connect(self) -> Link:
        link = self._connector.open(self._name)
        try:
            channel = link.open_channel()
            channel.confirm_select()
        except LINK_ERRORS as error:
            link.drop()
            raise BrokerUnavailable(f"RabbitMQ dropped a new connection ({error}); trying again later") from error
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)
        self._link, self._channel, self._last_number = link, channel, 0
        return link

    def _lose(self, error: BaseException) -> None:
        logger.warning("connection for publishing lost with %d messages unconfirmed: %s", self._unconfirmed, error)
        if self._link is not None:
            self._link.drop()
        # A missing exchange closes the channel. That is an answer: somebody has to declare it, and publish again.
        self._disconnect(Confirmation.RETURNED if isinstance(error, NotFound) else Confirmation.UNKNOWN)

    def _disconnect(self, became: Confirmation = Confirmation.UNKNOWN) -> None:
        self._link = self._channel = None
        self._known.update(dict.fromkeys(chain.from_iterable(self._pending.values()), became))
        self._clear_pending()

    def _clear_pending(self) -> None:
        self._pending.clear()
        self._unconfirmed = 0
        self._bursts.clear()
        self._returned.clear()

    def _on_return(self, _error: Any, _exchange: str, _routing_key: str, message: Any) -> None:
        self._returned.add(message.properties.get("message_id", ""))

    def _on_ack(self, tag: int, multiple: bool) -> None:
        self._settle(tag, multiple, Confirmation.CONFIRMED)

    def _on_nack(self, tag: int, multiple: bool) -> None:
        self._settle(tag, multiple, Confirmation.REFUSED)

    def _settle(self, tag: int, multiple: bool, confirmation: Confirmation) -> None:
        pending = self._pending
        tags = [tag] if tag in pending else []
        if multiple:
            tags = []
            for number in pending:  # in the order of publishing
                if number > tag:
                    break
                tags.append(number)
        for number in tags:
            identifiers = pending.pop(number)
            self._unconfirmed -= len(identifiers)
            became = confirmation
            if identifiers[0] in self._returned:  # what was written has the id of the first message in it
                self._returned.discard(identifiers[0])
                became = Confirmation.RETURNED
            self._known.update(dict.fromkeys(identifiers, became))
