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

import threading
from collections.abc import Callable
from enum import StrEnum
from time import monotonic

from messaging.core.errors import CircuitOpen, ConfigurationError


class BreakerState(StrEnum):
    CLOSED = "closed"  # calls pass
    OPEN = "open"  # calls are refused at once
    HALF_OPEN = "half_open"  # one call, the probe, is under way to see whether it works again


class CircuitBreaker:
    """Thread-safe. Ask ``allow`` before a call and report ``succeed`` or ``fail`` after it.

    Args:
        name: of what is called, for the error.
        failures: in a row, after which it opens.
        reset_after: seconds until a probe may pass; also how long a probe may stay silent before another one passes, so
            that a caller which died in mid-call cannot keep the breaker from closing.
        clock: seconds that only grow.
    """

    def __init__(
        self, name: str, *, failures: int = 5, reset_after: float = 30.0, clock: Callable[[], float] = monotonic
    ) -> None:
        if failures < 1 or not reset_after > 0:
            raise ConfigurationError(
                f"Circuit breaker {name!r}: failures is {failures} and reset_after {reset_after} seconds; expected 1 "
                "or "
                "more failures and more than 0 seconds."
            )
        self.name = name
        self._limit = failures
        self._reset_after = reset_after
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._next_probe: float | None = None  # None while closed
        self._probing = False

    @property
    def state(self) -> BreakerState:
        with self._lock:
            if self._next_probe is None:
                return BreakerState.CLOSED
            return BreakerState.HALF_OPEN if self._probing else BreakerState.OPEN

    def allow(self) -> None:
        """Let a call pass.

        Raises:
            CircuitOpen: do not call; says when to ask again.
        """
        with self._lock:
            if self._next_probe is None:
                return
            wait = self._next_probe - self._clock()
            if wait > 0:
                raise CircuitOpen(
                    f"{self.name} failed {self._failures} times in a row and is not called for {wait:.3g} s.",
                    retry_after=wait,
                )
            self._probing = True
            self._next_probe = self._clock() + self._reset_after

    def succeed(self) -> None:
        """The call worked: close."""
        with self._lock:
            self._failures, self._next_probe, self._probing = 0, None, False

    def fail(self) -> None:
        """The call failed: count it, and open at the limit or when it was the probe."""
        with self._lock:
            self._failures += 1
            if self._probing or (self._next_probe is None and self._failures >= self._limit):
                self._probing = False
                self._next_probe = self._clock() + self._reset_after

    def cancel(self) -> None:
        """The call ended without telling anything about what was called: let the next one be the probe."""
        with self._lock:
            if self._probing:
                self._probing = False
                self._next_probe = self._clock()
