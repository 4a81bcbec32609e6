"""When to try again: exponential backoff with full jitter.

Full jitter (a delay drawn evenly from zero to the backoff's ceiling) spreads clients that failed together, and does the
least work in total of the schemes compared in "Exponential Backoff And Jitter", AWS Architecture Blog, Marc Brooker,
2015.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from random import Random

from messaging.core.errors import ConfigurationError
from messaging.core.numbers import MAX_SECONDS, check_number

MAX_MULTIPLIER = 1_000_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and for how long something is tried again.

    Raises:
        ConfigurationError: the numbers make no policy.

    >>> policy = RetryPolicy(max_attempts=5, base=1.0, cap=60.0)
    >>> [policy.ceiling(attempt) for attempt in (1, 2, 3, 10)]
    [1.0, 2.0, 4.0, 60.0]
    >>> policy.exhausted(attempts=4, age=0.0), policy.exhausted(attempts=5, age=0.0)
    (False, True)
    """

    max_attempts: int  # the first one included
    base: float  # seconds: ceiling of the delay after the first attempt
    cap: float  # seconds: no delay is longer
    multiplier: float = 2.0  # what the ceiling grows by with each attempt
    deadline: float | None = None  # seconds since the first attempt was due; None for no deadline

    def __post_init__(self) -> None:
        check_number("RetryPolicy: max_attempts", self.max_attempts, 1, sys.maxsize, whole=True)
        check_number("RetryPolicy: base (seconds)", self.base, 0, MAX_SECONDS)
        check_number("RetryPolicy: cap (seconds)", self.cap, 0, MAX_SECONDS)
        check_number("RetryPolicy: multiplier", self.multiplier, 1, MAX_MULTIPLIER)
        if self.deadline is not None:
            check_number("RetryPolicy: deadline (seconds, or None)", self.deadline, 0, MAX_SECONDS)
        if self.base > self.cap:
            raise ConfigurationError(f"base is {self.base} and cap {self.cap} seconds; expected 0 < base <= cap")

    def ceiling(self, attempt: int) -> float:
        """Return the longest delay, in seconds, after an attempt; the first attempt is number 1."""
        if attempt < 1:
            raise ValueError(f"attempts are counted from 1, so there is no attempt {attempt}")
        try:
            return float(min(self.cap, self.base * self.multiplier ** (attempt - 1)))
        except OverflowError:  # far beyond any cap
            return float(self.cap)

    def delay(self, attempt: int, random: Random) -> float:
        """Draw the delay, in seconds, between an attempt that failed and the next one.

        Args:
            attempt: the number of the attempt that failed, from 1.
            random: where the jitter comes from.
        """
        return random.uniform(0.0, self.ceiling(attempt))  # nosec B311  # jitter, no secret

    def exhausted(self, attempts: int, age: float) -> bool:
        """Tell whether there is to be no further attempt.

        Args:
            attempts: how many there were.
            age: seconds since the first one was due.
        """
        return attempts >= self.max_attempts or (self.deadline is not None and age >= self.deadline)
