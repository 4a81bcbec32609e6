"""Clock jumps: this process's idea of the wall clock is moved by what a file says.

The worker and the relay of a soak load this module through NEXUS_AGENTS; nothing else does.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic

from django.utils import timezone

from bench.soak.names import CLOCK_FILE

_LOOK_EVERY = 0.2

_real_now = timezone.now


class _Clock:
    """Args: path of the file that holds the jump in seconds; a line is added to ``<path>.seen`` when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._looked_at = float("-inf")
        self._ahead = 0.0

    def now(self) -> datetime:
        if monotonic() - self._looked_at > _LOOK_EVERY:
            self._looked_at = monotonic()
            self._look()
        return _real_now() + timedelta(seconds=self._ahead)

    def _look(self) -> None:
        try:
            ahead = float(self._path.read_text() or 0)
        except (OSError, ValueError):
            return
        if ahead != self._ahead:
            self._ahead = ahead
            with self._path.with_suffix(".seen").open("a") as seen:
                seen.write(f"{os.getpid()} {ahead}\n")


def install() -> None:
    """Patch ``timezone.now`` of this process when ``SOAK_CLOCK_FILE`` names a file."""
    path = os.environ.get(CLOCK_FILE)
    if path and timezone.now is _real_now:
        timezone.now = _Clock(Path(path)).now
