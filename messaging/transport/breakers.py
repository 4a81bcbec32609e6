"""The circuit breakers of this installation: one for each name, shared between processes where there is a Redis.

Without ``REDIS_URL``, or while Redis does not answer, every process remembers by itself: a breaker needs no agreement
to be safe, only to spare each process its own failures.
"""

from __future__ import annotations

import logging
import threading
from time import monotonic
from typing import Any

import msgspec
import redis
from django.conf import settings as django_settings

from messaging.core.breaker import BreakerRecord, Change, CircuitBreaker, LocalMemory

logger = logging.getLogger("nexus.breakers")

PREFIX = "nexus:breaker:"
REMEMBER = 0.25
"""Seconds for which a record read from Redis is used again, so that a hot path does not ask for each message."""
ANSWER_WITHIN = 0.5
LEAVE_ALONE = 5.0
"""Seconds without asking a Redis that failed."""
KEEP = 24 * 3600
MOST_TRIES = 10


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
        for _ in range(MOST_TRIES):
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
        raise redis.WatchError(f"{self._key} was changed by others {MOST_TRIES} times in a row")

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


_breakers: dict[str, CircuitBreaker] = {}
_creating = threading.Lock()
_client: redis.Redis | None = None


def _redis() -> redis.Redis | None:
    global _client
    url = getattr(django_settings, "REDIS_URL", "")
    if url and _client is None:
        _client = redis.Redis.from_url(url, socket_timeout=ANSWER_WITHIN, socket_connect_timeout=ANSWER_WITHIN)
    return _client if url else None


def get_breaker(name: str, *, failures: int = 5, reset_after: float = 30.0) -> CircuitBreaker:
    """The breaker of that name; the first call in a process says how it behaves.

    Args:
        name: of what is called, such as ``"broker"``; processes with the same Redis share it by this name.
        failures, reset_after: see ``CircuitBreaker``.
    """
    with _creating:
        breaker = _breakers.get(name)
        if breaker is None:
            client = _redis()
            memory = SharedMemory(client, name) if client is not None else LocalMemory()
            breaker = _breakers[name] = CircuitBreaker(name, failures=failures, reset_after=reset_after, memory=memory)
        return breaker


def forget() -> None:
    """Make every breaker anew at its next use."""
    global _client
    with _creating:
        _breakers.clear()
        _client = None


def refusing() -> dict[str, bool]:
    """Name → whether it refuses calls now, of every breaker that this process uses, or any process with its Redis."""
    found = {name: breaker.refuses for name, breaker in list(_breakers.items())}
    client = _redis()
    if client is not None:
        try:
            for key in client.scan_iter(match=f"{PREFIX}*", count=500):
                name = bytes(key).decode().removeprefix(PREFIX)
                record, now = SharedMemory(client, name).read()
                found[name] = record.next_probe is not None and record.next_probe > now
        except redis.RedisError as error:
            logger.warning("The shared breakers cannot be read: %s", error)
    return found
