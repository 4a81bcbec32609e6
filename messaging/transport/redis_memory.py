"""The state of circuit breakers in Redis. The one module that needs the package ``redis``."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from time import monotonic
from typing import Any

import msgspec
import redis

from messaging.core.breaker import BreakerRecord, Change, LocalMemory

logger = logging.getLogger("nexus.breakers")

PREFIX = "nexus:breaker:"
REMEMBER = 0.25
"""Seconds for which a record read from Redis is used again, so that a hot path does not ask for each message."""
ANSWER_WITHIN = 0.5
LEAVE_ALONE = 5.0
"""Seconds without asking a Redis that failed."""
KEEP = 24 * 3600
MAX_TRIES = 10


def connect(url: str) -> redis.Redis:
    """Return a client that waits for no answer for long. Opens no connection."""
    return redis.Redis.from_url(url, socket_timeout=ANSWER_WITHIN, socket_connect_timeout=ANSWER_WITHIN)


def shared_records(client: redis.Redis) -> Iterator[tuple[str, BreakerRecord, float]]:
    """Name, record and Redis's time of every breaker that any process keeps there; none while it does not answer."""
    try:
        for key in client.scan_iter(match=f"{PREFIX}*", count=500):
            name = bytes(key).decode().removeprefix(PREFIX)
            yield name, *SharedMemory(client, name).read()
    except redis.RedisError as error:
        logger.warning("The shared breakers cannot be read: %s", error)


class SharedMemory:
    """Keeps a breaker's record in Redis, by Redis's own clock.

    Args:
        client: of Redis.
        name: the breaker's.
    """

    def __init__(self, client: redis.Redis, name: str) -> None:
        self._client = client
        self._key = PREFIX + name
        self._local = LocalMemory()
        self._known: tuple[BreakerRecord, float, float] | None = None  # record, Redis's time, ours
        self._alone_until = float("-inf")

    def read(self) -> tuple[BreakerRecord, float]:
        known = self._known
        if known is not None and monotonic() - known[2] < REMEMBER:
            return known[0], known[1] + monotonic() - known[2]
        if monotonic() < self._alone_until:
            return self._local.read()
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                pipeline.get(self._key)
                pipeline.time()
                value, (seconds, micros) = pipeline.execute()
        except redis.RedisError as error:
            self._go_alone(error)
            return self._local.read()
        return self._learn(_decode(value), seconds + micros / 1e6)

    def change(self, change: Change) -> tuple[BreakerRecord, BreakerRecord, float]:
        if monotonic() >= self._alone_until:
            try:
                return self._change_shared(change)
            except redis.RedisError as error:
                self._go_alone(error)
        return self._local.change(change)

    def _change_shared(self, change: Change) -> tuple[BreakerRecord, BreakerRecord, float]:
        for _ in range(MAX_TRIES):
            with self._client.pipeline() as pipeline:
                try:
                    pipeline.watch(self._key)  # type: ignore[no-untyped-call]
                    seconds, micros = self._client.time()
                    now = seconds + micros / 1e6
                    before = _decode(pipeline.get(self._key))
                    after = change(before, now)
                    pipeline.multi()
                    pipeline.set(self._key, msgspec.json.encode(after), ex=KEEP)
                    pipeline.execute()
                except redis.WatchError:  # another process changed it in between
                    continue
            self._learn(after, now)
            return before, after, now
        raise redis.WatchError(f"{self._key} was changed by others {MAX_TRIES} times in a row")

    def _learn(self, record: BreakerRecord, now: float) -> tuple[BreakerRecord, float]:
        self._known = (record, now, monotonic())
        return record, now

    def _go_alone(self, error: redis.RedisError) -> None:
        logger.warning("Redis does not answer; this process remembers by itself for %g s: %s", LEAVE_ALONE, error)
        self._alone_until = monotonic() + LEAVE_ALONE
        self._known = None


def _decode(value: Any) -> BreakerRecord:
    if not value:
        return BreakerRecord()
    try:
        return msgspec.json.decode(value, type=BreakerRecord)
    except msgspec.MsgspecError:
        return BreakerRecord()
