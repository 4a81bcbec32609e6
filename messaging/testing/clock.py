"""A clock that is moved on instead of waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from unittest.mock import patch

from django.utils import timezone


class SkippedTime:
    """How far ``timezone.now()`` is ahead of the real time. It stays so only inside ``skipping_time``.

    Args:
        now: the real clock, or the one that the test froze.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self.ahead = timedelta()

    def now(self) -> datetime:
        """The time that code under test sees."""
        return self._now() + self.ahead

    def advance(self, seconds: float) -> None:
        """Let seconds pass at once."""
        self.ahead += timedelta(seconds=seconds)

    def advance_to(self, moment: datetime) -> None:
        """Let the time until a moment pass at once."""
        self.ahead += max(timedelta(), moment - self.now())


@contextmanager
def skipping_time() -> Iterator[SkippedTime]:
    """Let time be skipped during the block, for whoever asks ``timezone.now()``."""
    clock = SkippedTime(timezone.now)
    with patch.object(timezone, "now", clock.now):
        yield clock
