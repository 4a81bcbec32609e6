"""Circuit breaker: stop calling what keeps failing, and find out cheaply when it works again.

              failures in a row reach the limit
    CLOSED ─────────────────────────────────────▶ OPEN ◀─────────────┐
       ▲                                            │ reset_after     │ the probe fails,
       │             the probe succeeds             ▼                 │ or says nothing
       └──────────────────────────────────────  HALF_OPEN ────────────┘
                                              (one call at a time)

>>> now = 0.0
>>> breaker = CircuitBreaker("model", failures=2, reset_after=10.0, clock=lambda: now)
>>> breaker.allow(); breaker.fail(); breaker.allow(); breaker.fail()
>>> breaker.state
<BreakerState.OPEN: 'open'>
>>> breaker.allow()
Traceback (most recent call last):
    ...
messaging.core.errors.CircuitOpen: model failed 2 times in a row and is not called for 10 s.
>>> now = 10.0
>>> breaker.allow(); breaker.state
<BreakerState.HALF_OPEN: 'half_open'>
>>> breaker.succeed(); breaker.state
<BreakerState.CLOSED: 'closed'>
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from time import monotonic
from typing import Protocol

from messaging.core.errors import CircuitOpen, ConfigurationError

logger = logging.getLogger("nexus.breakers")


class BreakerState(StrEnum):
    CLOSED = "closed"  # calls pass
    OPEN = "open"  # calls are refused at once
    HALF_OPEN = "half_open"  # one call, the probe, is under way to see whether it works again


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRecord:
    """What a breaker remembers.

    Args:
        failures: in a row.
        next_probe: when a probe may pass, by the clock of the breaker's memory; None while closed.
        probing: whether one is under way.
    """

    failures: int = 0
    next_probe: float | None = None
    probing: bool = False

    @property
    def state(self) -> BreakerState:
        if self.next_probe is None:
            return BreakerState.CLOSED
        return BreakerState.HALF_OPEN if self.probing else BreakerState.OPEN


Change = Callable[[BreakerRecord, float], BreakerRecord]
"""(record, present time) → the record that takes its place."""


class BreakerMemory(Protocol):
    """Keeps the record of one breaker."""

    def read(self) -> tuple[BreakerRecord, float]:
        """The record, perhaps a moment old, and the present time in seconds."""

    def change(self, change: Change) -> tuple[BreakerRecord, BreakerRecord, float]:
        """Apply a change as one step; return the record before it, the record after it, and the time it was given."""


class LocalMemory:
    """Keeps it in this process.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._record = BreakerRecord()

    def read(self) -> tuple[BreakerRecord, float]:
        return self._record, self._clock()

    def change(self, change: Change) -> tuple[BreakerRecord, BreakerRecord, float]:
        with self._lock:
            before, now = self._record, self._clock()
            self._record = change(before, now)
            return before, self._record, now


class CircuitBreaker:
    """Thread-safe. Ask ``allow`` before a call and report ``succeed`` or ``fail`` after it.

    Args:
        name: of what is called, for the error.
        failures: in a row, after which it opens.
        reset_after: seconds until a probe may pass; also how long a probe may stay silent before another one passes, so
            that a caller which died in mid-call cannot keep the breaker from closing.
        clock: seconds that only grow, for a memory of its own.
        memory: where its record is kept; in this process by default.
    """

    def __init__(
        self,
        name: str,
        *,
        failures: int = 5,
        reset_after: float = 30.0,
        clock: Callable[[], float] = monotonic,
        memory: BreakerMemory | None = None,
    ) -> None:
        if failures < 1 or not reset_after > 0:
            raise ConfigurationError(
                f"Circuit breaker {name!r}: failures is {failures} and reset_after {reset_after} seconds; expected 1 "
                "or more failures and more than 0 seconds."
            )
        self.name = name
        self._limit = failures
        self._reset_after = reset_after
        self._memory = memory or LocalMemory(clock)

    @property
    def state(self) -> BreakerState:
        return self._memory.read()[0].state

    @property
    def refuses(self) -> bool:
        """Whether ``allow`` would refuse now. Asking changes nothing and makes no call the probe."""
        record, now = self._memory.read()
        return record.next_probe is not None and record.next_probe > now

    def allow(self) -> None:
        """Let a call pass.

        Raises:
            CircuitOpen: do not call; says when to ask again.
        """
        record, now = self._memory.read()
        if record.next_probe is None:
            return
        if record.next_probe <= now:
            record, _, now = self._memory.change(self._try)
        wait = 0.0 if record.next_probe is None else record.next_probe - now
        if wait > 0:
            raise CircuitOpen(
                f"{self.name} failed {record.failures} times in a row and is not called for {wait:.3g} s.",
                retry_after=wait,
            )

    def _try(self, record: BreakerRecord, now: float) -> BreakerRecord:
        if record.next_probe is None or record.next_probe > now:
            return record
        return replace(record, probing=True, next_probe=now + self._reset_after)

    def succeed(self) -> None:
        """The call worked: close."""
        if self._memory.read()[0] != BreakerRecord():
            before, _, _ = self._memory.change(lambda _record, _now: BreakerRecord())
            if before.next_probe is not None:
                logger.info("%s works again; its calls pass.", self.name)

    def fail(self) -> None:
        """The call failed: count it, and open at the limit or when it was the probe."""
        before, after, _ = self._memory.change(self._count)
        if before.next_probe is None and after.next_probe is not None:
            logger.warning("%s failed %d times in a row and is left alone for a while.", self.name, after.failures)

    def _count(self, record: BreakerRecord, now: float) -> BreakerRecord:
        counted = replace(record, failures=record.failures + 1)
        if record.probing or (record.next_probe is None and counted.failures >= self._limit):
            return replace(counted, probing=False, next_probe=now + self._reset_after)
        return counted

    def cancel(self) -> None:
        """The call ended without telling anything about what was called: let the next one be the probe."""
        if self._memory.read()[0].probing:
            self._memory.change(
                lambda record, now: replace(record, probing=False, next_probe=now) if record.probing else record
            )
