"""Lines that say what goes on, with the time since the start."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_started = time.monotonic()
_EVERY = 5.0


def say(text: str) -> None:
    """Write a line with the time since the start."""
    minutes, seconds = divmod(int(time.monotonic() - _started), 60)
    print(f"[{minutes:3d}:{seconds:02d}] {text}", flush=True)


def waiting(what: str, done: Callable[[], int], total: int) -> Callable[[], None]:
    """A function that, called again and again, writes how far something is, every few seconds.

    Args:
        what: is going on.
        done: says how far it is.
        total: when it is complete.
    """
    last = time.monotonic()

    def tell() -> None:
        nonlocal last
        if time.monotonic() - last >= _EVERY:
            last = time.monotonic()
            say(f"{what}: {done():,} of {total:,}")

    return tell


@dataclass(frozen=True, slots=True)
class Rounds:
    """How often everything is measured that is compared.

    Args:
        wanted: times.
        seconds: that all of them may take; a round that would probably end later is left out, the first one never.
    """

    wanted: int
    seconds: float

    def __iter__(self) -> Iterator[int]:
        began, longest = time.monotonic(), 0.0
        for number in range(self.wanted):
            started = time.monotonic()
            if number and started - began + longest > self.seconds:
                say(f"no time for round {number + 1} of {self.wanted}: the last took {longest:.0f} s")
                return
            say(f"round {number + 1} of {self.wanted}")
            yield number
            longest = max(longest, time.monotonic() - started)


def fail(text: str) -> None:
    """Write an error."""
    print(f"bench: {text}", file=sys.stderr, flush=True)
