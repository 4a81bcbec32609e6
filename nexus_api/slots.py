"""How many requests may wait at once in this process: each takes a thread under WSGI, and others need some too."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from messaging.extension import get_settings
from nexus_api.problems import ApiProblem

_lock = threading.Lock()
_taken: Counter[str] = Counter()


def take(identity: str) -> None:
    """Take a place for a request that lasts; ``give_back`` it.

    Args:
        identity: of the caller, who gets at most half of the places.

    Raises:
        ApiProblem: 503, none is free.
    """
    limit = get_settings().api_streams
    with _lock:
        if _taken.total() >= limit or _taken[identity] >= max(1, limit // 2):
            raise ApiProblem(
                503, "too-many-streams", f"All places for requests that wait are taken ({limit}). Poll, or try later."
            )
        _taken[identity] += 1


def give_back(identity: str) -> None:
    """Give a place back."""
    with _lock:
        _taken[identity] -= 1
        if _taken[identity] <= 0:
            del _taken[identity]


def taken() -> int:
    """How many places are taken."""
    with _lock:
        return _taken.total()


@contextmanager
def place(identity: str) -> Iterator[None]:
    """Have a place within. See ``take``."""
    take(identity)
    try:
        yield
    finally:
        give_back(identity)
