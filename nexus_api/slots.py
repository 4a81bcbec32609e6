"""How many requests may last at once in this process."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from messaging.extension import get_settings
from nexus_api.problems import ApiProblem


class Slots:
    """Places for requests that last; one caller gets at most half of them.

    Args:
        limit: says how many places there are.
    """

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    def take(self, identity: str) -> None:
        """Take a place for a request that lasts; ``give_back`` it.

        Args:
            identity: of the caller.

        Raises:
            ApiProblem: 503, none is free.
        """
        limit = self._limit()
        with self._lock:
            if self._taken.total() >= limit or self._taken[identity] >= max(1, limit // 2):
                raise ApiProblem(
                    503,
                    "too-many-streams",
                    f"All places for requests that wait are taken ({limit}). Poll, or try later.",
                )
            self._taken[identity] += 1

    def give_back(self, identity: str) -> None:
        """Give a place back."""
        with self._lock:
            self._taken[identity] -= 1
            if self._taken[identity] <= 0:
                del self._taken[identity]

    def taken(self) -> int:
        """How many places are taken."""
        with self._lock:
            return self._taken.total()

    @contextmanager
    def place(self, identity: str) -> Iterator[None]:
        """Have a place within. See ``take``."""
        self.take(identity)
        try:
            yield
        finally:
            self.give_back(identity)


WAITING = Slots(lambda: get_settings().api_streams)
"""For programs. Under WSGI each takes a thread, and others need some too."""
VIEWERS = Slots(lambda: get_settings().live_viewers)
"""For viewers of live pages, under ASGI only: they take no thread while they wait."""
