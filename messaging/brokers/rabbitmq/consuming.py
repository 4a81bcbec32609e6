"""Receiving and acknowledging: raw bodies, one channel a subscription, as few acknowledgement frames as possible."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from threading import Event
from time import monotonic
from typing import Any

from amqp.exceptions import NotFound

from messaging.brokers.base import ReceivedMessage, Subscription
from messaging.brokers.rabbitmq.bundles import BUNDLE_TYPE, unpack
from messaging.brokers.rabbitmq.connector import Connector
from messaging.brokers.rabbitmq.frames import FrameDelivery, encode_acknowledge, encode_reject
from messaging.brokers.rabbitmq.link import LINK_ERRORS, Link
from messaging.core.errors import BrokerUnavailable, TopologyMismatch

logger = logging.getLogger(__name__)

_MAX_PAUSE = 0.2
"""Seconds between two looks whether another thread has found the broker up again."""


class Feed:
    """What one subscription gets over one connection.

    Args:
        link: the connection.
        subscription: whose messages these are.
        channel: the channel of its own.
    """

    __slots__ = ("arrived", "cancelled", "channel", "former_tag", "link", "number", "subscription", "unacknowledged")

    def __init__(self, link: Link, subscription: Subscription, channel: Any) -> None:
        self.link = link
        self.subscription = subscription
        self.channel = channel
        self.number: int = channel.channel_id
        self.arrived: deque[ReceivedMessage] = deque()
        self.unacknowledged: dict[int, None] = {}  # every tag that the broker waits for, in the order of delivery
        self.cancelled = False
        self.former_tag = ""  # under which something may still come: see ``give_way``

    def on_cancel(self, _consumer_tag: str) -> None:
        """Note that the broker ended the subscription, because the queue was deleted or has no leader."""
        self.cancelled = True

    def take(self, limit: int) -> list[ReceivedMessage]:
        """Return messages that have arrived, ``limit`` at most."""
        arrived = self.arrived
        return [arrived.popleft() for _ in range(min(limit, len(arrived)))]

    def add(self, delivery: FrameDelivery) -> None:
        """Take in what the broker handed out: a message, or all messages of a bundle."""
        self.unacknowledged[delivery.tag] = None
        unreadable = delivery.unreadable
        if delivery.content_type == BUNDLE_TYPE and not unreadable:
            try:
                self._add_parts(delivery)
                return
            except ValueError as error:
                unreadable = str(error)
        self.arrived.append(
            ReceivedMessage(
                queue=self.subscription.queue,
                body=delivery.body,
                headers=delivery.headers,
                content_type=delivery.content_type,
                redelivered=delivery.redelivered,
                tag=delivery.tag,
                unreadable=unreadable,
                _handle=self,
            )
        )

    def _add_parts(self, delivery: FrameDelivery) -> None:
        content_type, parts = unpack(delivery.body)
        noted = {name: value for name, value in delivery.headers.items() if name.startswith("x-")}  # by the broker
        bundle = OpenBundle(self, delivery.tag, len(parts))
        for number, (headers, body) in enumerate(parts):
            self.arrived.append(
                ReceivedMessage(
                    queue=self.subscription.queue,
                    body=body,
                    headers={**headers, **noted} if noted else headers,
                    content_type=content_type,
                    redelivered=delivery.redelivered,
                    tag=delivery.tag,
                    _handle=bundle,
                    _part=number,
                )
            )

    def acknowledge(self, tags: Iterable[int]) -> list[bytes]:
        """Return the frames that acknowledge deliveries.

        RabbitMQ closes the channel for a tag that it does not wait for, and ``multiple`` takes everything up to a
        tag. So one frame covers the tags before which nothing stays open, and each of the others has its own.
        """
        handled = self.unacknowledged.keys() & set(tags)
        together = []
        for tag in self.unacknowledged:
            if tag not in handled:
                break
            together.append(tag)
        frames = [encode_acknowledge(self.number, together[-1], multiple=True)] if together else []
        for tag in together:
            del self.unacknowledged[tag]
        for tag in sorted(handled.difference(together)):
            del self.unacknowledged[tag]
            frames.append(encode_acknowledge(self.number, tag, multiple=False))
        return frames


class OpenBundle:
    """A bundle that was handed out: the broker hears of it once all its messages are settled.

    Args:
        feed: by which it came.
        tag: the broker's number for it.
        count: how many messages it holds.
    """

    __slots__ = ("_open", "feed", "goes_back", "tag")

    def __init__(self, feed: Feed, tag: int, count: int) -> None:
        self.feed = feed
        self.tag = tag
        self.goes_back = False
        self._open = set(range(count))

    def settle(self, message: ReceivedMessage, *, requeue: bool = False) -> bool:
        """Note that a message of it was acknowledged or given back; return whether it was the last one."""
        if message._part not in self._open:
            return False
        self.goes_back |= requeue
        self._open.discard(message._part)
        return not self._open


class ReceivingSide:
    """The receiving side of one thread: a connection of its own, with all its subscriptions.

    Args:
        connector: opens the connection.
        name: shown by the broker's management as the connection's name.
        heartbeat: seconds between heartbeats; ``receive()`` must be called more often than every second one.
    """

    def __init__(self, connector: Connector, name: str, heartbeat: float) -> None:
        self._connector = connector
        self._name = name
        self._heartbeat = heartbeat
        self._link: Link | None = None
        self._feeds: dict[str, Feed] = {}
        self._consumers = 0
        self._turn = 0

    def subscribe(self, subscription: Subscription) -> None:
        """Start a subscription. Raises TopologyMismatch or BrokerUnavailable."""
        try:
            self._feed(subscription)
        except LINK_ERRORS as error:
            self._lose(error)
            raise BrokerUnavailable(f"RabbitMQ dropped the connection while subscribing ({error})") from error

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; its open messages return to the queue."""
        feed = self._feeds.pop(subscription._handle or "", None)
        subscription._handle = None
        if feed is not None:
            self._feeds.pop(feed.former_tag, None)
        if feed is None or feed.link is not self._link:
            return
        try:
            feed.channel.close()
        except LINK_ERRORS as error:
            self._lose(error)

    def give_way(self, subscription: Subscription) -> None:
        """Go to the end of the line of a queue's consumers, and keep what was handed out.

        On the same channel, whose tags stay good, and under another tag: RabbitMQ remembers the former one until
        everything that it handed out under it is settled.
        """
        tag = subscription._handle or ""
        feed = self._feeds.get(tag)
        if feed is None or feed.link is not self._link or feed.cancelled:
            return
        self._feeds.pop(feed.former_tag, None)
        feed.former_tag = tag
        try:
            feed.channel.basic_cancel(tag)
            self._consume(feed)
        except LINK_ERRORS as error:
            self._lose(error)

    def receive(self, subscriptions: Sequence[Subscription], limit: int, timeout: float) -> list[ReceivedMessage]:
        """Return messages, waiting for the first. Raises BrokerUnavailable when reconnecting took all the time."""
        deadline = monotonic() + timeout
        self._turn += 1
        patience = 0.0  # the first round takes only what is there
        while True:
            try:
                feeds = [self._feed(subscription) for subscription in subscriptions]
                arrived = [len(feed.arrived) for feed in feeds]
                if self._link is not None and (sum(arrived) < limit or 0 in arrived):
                    self._link.pump(patience)
            except LINK_ERRORS as error:
                self._lose(error)
                feeds = []
            except BrokerUnavailable:
                patience = deadline - monotonic()
                if patience <= 0:
                    raise
                Event().wait(min(patience, max(self._connector.delay, 0.01), _MAX_PAUSE))
                continue
            messages = self._take(feeds, limit)
            patience = deadline - monotonic()
            if messages or patience <= 0:
                return messages

    def _take(self, feeds: list[Feed], limit: int) -> list[ReceivedMessage]:
        messages: list[ReceivedMessage] = []
        for index in range(len(feeds)):
            feed = feeds[(index + self._turn) % len(feeds)]  # so that a full queue does not starve the others
            if feed.arrived:
                messages += feed.take(limit - len(messages))
        return messages

    def acknowledge(self, messages: Sequence[ReceivedMessage]) -> None:
        """Acknowledge messages of this connection; those of an earlier one come again anyway."""
        tags: dict[Feed, list[int]] = {}
        for message in messages:
            feed = message._handle
            if isinstance(feed, OpenBundle):
                bundle = feed
                if not bundle.settle(message):
                    continue
                if bundle.goes_back:
                    self._reject(bundle.feed, bundle.tag, requeue=True)
                    continue
                feed = bundle.feed
            tags.setdefault(feed, []).append(message.tag)
        self._write([frame for feed in tags if self._is_live(feed) for frame in feed.acknowledge(tags[feed])])

    def reject(self, message: ReceivedMessage, *, requeue: bool) -> None:
        """Give a message back to its queue, or away to the dead-letter exchange. A part of a bundle only goes back."""
        handle = message._handle
        if not isinstance(handle, OpenBundle):
            self._reject(handle, message.tag, requeue=requeue)
        elif handle.settle(message, requeue=True):
            self._reject(handle.feed, handle.tag, requeue=True)

    def _reject(self, feed: Feed, tag: int, *, requeue: bool) -> None:
        if self._is_live(feed) and tag in feed.unacknowledged:
            del feed.unacknowledged[tag]
            self._write([encode_reject(feed.number, tag, requeue=requeue)])

    def close(self) -> None:
        """Close the connection; open messages return to their queues."""
        if self._link is not None:
            self._link.close()
        self._disconnect()

    def abandon(self) -> None:
        """Let go of a connection that the parent process uses."""
        if self._link is not None:
            self._link.drop()

    def _is_live(self, feed: Feed) -> bool:
        return self._link is not None and feed.link is self._link and feed.channel.connection is not None

    def _write(self, frames: list[bytes]) -> None:
        if frames and self._link is not None:
            try:
                self._link.write(b"".join(frames))
            except LINK_ERRORS as error:
                self._lose(error)

    def _feed(self, subscription: Subscription) -> Feed:
        feed = self._feeds.get(subscription._handle or "")
        if feed is not None:
            if not feed.cancelled:
                return feed
            del self._feeds[subscription._handle]
        link = self._link or self._connect()
        channel = link.open_channel()
        feed = Feed(link, subscription, channel)
        channel.basic_qos(0, subscription.prefetch, False)
        self._consume(feed)
        return feed

    def _consume(self, feed: Feed) -> None:
        subscription = feed.subscription
        self._consumers += 1
        consumer_tag = f"{self._name}.{self._consumers}"
        self._feeds[consumer_tag] = feed  # before the broker answers: messages may come first
        try:
            feed.channel.basic_consume(subscription.queue, consumer_tag=consumer_tag, on_cancel=feed.on_cancel)
        except NotFound as error:
            del self._feeds[consumer_tag]
            feed.cancelled = True
            feed.channel.close()
            raise TopologyMismatch(
                f"queue {subscription.queue!r} does not exist on RabbitMQ ({error.reply_text}); call initialize() first"
            ) from error
        subscription._handle = consumer_tag

    def _connect(self) -> Link:
        self._link = self._connector.open(self._name, heartbeat=self._heartbeat, on_delivery=self._on_delivery)
        return self._link

    def _on_delivery(self, delivery: FrameDelivery) -> None:
        feed = self._feeds.get(delivery.consumer_tag)
        if feed is not None:  # otherwise it was unsubscribed, and the broker takes the message back with its channel
            feed.add(delivery)

    def _lose(self, error: BaseException) -> None:
        logger.warning("connection for receiving lost, subscribing again: %s", error)
        if self._link is not None:
            self._link.drop()
        self._disconnect()

    def _disconnect(self) -> None:
        self._link = None
        self._feeds.clear()
