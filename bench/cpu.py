"""Processor time: what a race used of it, by part, and what others on the machine took meanwhile.

On a machine that is shared with others a rate says little by itself; the processor time per message hardly changes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from messaging.testing.servers import proctree

_TICK = os.sysconf("SC_CLK_TCK")


def _seconds(pid: int, *, with_ended_children: bool) -> float:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    fields = text[text.rindex(")") + 2 :].split()
    last = 15 if with_ended_children else 13
    return sum(map(int, fields[11:last])) / _TICK


def _busy_seconds() -> float:
    """Of all processors together, since boot: everything but idle and waiting for a disk."""
    fields = list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]))
    return (sum(fields) - fields[3] - fields[4]) / _TICK


@dataclass(frozen=True, slots=True)
class Used:
    """Processor time of a stretch of time.

    Args:
        seconds: by part.
        others: the share of the machine's processors that anybody else used, 0 to 1.
    """

    seconds: Mapping[str, float]
    others: float

    def figures(self, messages: int) -> dict[str, float]:
        """Microseconds a message of each part, what others took, and what the processors would carry alone.

        Args:
            messages: that were handled with it.
        """
        used = {f"{part} µs": seconds / messages * 1e6 for part, seconds in self.seconds.items()}
        capacity = (os.cpu_count() or 1) * 1e6 / max(1.0, sum(used.values()))
        return {**used, "capacity": capacity, "others": self.others}


class Meter:
    """Starts to count when it is made.

    Args:
        parts: the root processes of each part; their descendants count.
    """

    def __init__(self, parts: Mapping[str, Sequence[int]]) -> None:
        self._parts = parts
        self._before = self._read()
        self._busy = _busy_seconds()

    def _read(self) -> dict[str, float]:
        return {
            name: sum(
                _seconds(root, with_ended_children=True)
                + sum(_seconds(pid, with_ended_children=False) for pid in proctree.descendants(root))
                for root in roots
            )
            for name, roots in self._parts.items()
        }

    def read(self, elapsed: float) -> Used:
        """What was used since.

        Args:
            elapsed: seconds since the meter was made.
        """
        after = self._read()
        seconds = {name: after[name] - self._before[name] for name in after}
        everybody = _busy_seconds() - self._busy
        capacity = max(elapsed, 0.001) * (os.cpu_count() or 1)
        return Used(seconds, min(1.0, max(0.0, (everybody - sum(seconds.values())) / capacity)))


def resident(pid: int) -> float:
    """Resident memory of a process in MB; 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1e3 for line in text.splitlines() if line.startswith("VmRSS:")), 0.0)
