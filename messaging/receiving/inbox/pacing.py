"""How many events of one program are taken in a time: a token bucket."""

from __future__ import annotations

BURST_SECONDS = 10.0
"""What a program saved up by sending nothing, at most."""


class Pace:
    """Says whether one more may pass.

    Args:
        rate: tokens that come in a second.
        now: the present time, in seconds of any clock that does not go back.
    """

    def __init__(self, rate: float, now: float) -> None:
        self._most = max(1.0, rate * BURST_SECONDS)
        self._rate = rate
        self._tokens = self._most
        self._at = now

    def take(self, now: float) -> bool:
        """Use up a token, if there is one."""
        self._tokens = min(self._most, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
