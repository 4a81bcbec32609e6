"""Lines that say what goes on, with the time since the start."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

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


def fail(text: str) -> None:
    """Write an error."""
    print(f"bench: {text}", file=sys.stderr, flush=True)
