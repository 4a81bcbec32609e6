"""The ledger: every system's handlers note each call in one file, in the same way.

A record is 16 bytes, appended with one write (about 2 µs, the same for every system). The end of a race is the record
that completes it, so nobody has to ask a database or a queue how far things are; the same records show whether
anything was lost, doubled or reordered.
"""

from __future__ import annotations

import os
import struct
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

PATH_VARIABLE = "BENCH_LEDGER"

_RECORD = struct.Struct("<IIQ")
_descriptor: int | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a handler.

    Args:
        conversation: 0, 1, 2, …
        leg: 1, 2, 3, … within the conversation.
        time: of the monotonic clock, in nanoseconds; all processes of a machine share it.
    """

    conversation: int
    leg: int
    time: int


def note(conversation: int, leg: int) -> None:
    """Append a record to the file that the environment names. Safe in threads and after a fork."""
    global _descriptor
    if _descriptor is None:
        _descriptor = os.open(os.environ[PATH_VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(_descriptor, _RECORD.pack(conversation, leg, time.monotonic_ns()))


def records() -> int:
    """How many records the file has that the environment names."""
    return Path(os.environ[PATH_VARIABLE]).stat().st_size // _RECORD.size


class Ledger:
    """The file, as the benchmark reads it.

    Args:
        path: of the file; emptied.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.clear()

    def clear(self) -> None:
        """Forget all records; processes that hold the file open go on at its beginning."""
        with self.path.open("ab") as file:
            file.truncate(0)

    def __len__(self) -> int:
        return self.path.stat().st_size // _RECORD.size

    def calls(self) -> list[Call]:
        """All records, in the order in which they were written."""
        whole = self.path.read_bytes()
        return [Call(*fields) for fields in _RECORD.iter_unpack(whole[: len(whole) // _RECORD.size * _RECORD.size])]


def problems(calls: Sequence[Call], conversations: Iterable[int], legs: int) -> list[str]:
    """Say what was lost, doubled or reordered.

    Args:
        calls: in the order in which they were made.
        conversations: those that were started.
        legs: of each of them.
    """
    counts = Counter((call.conversation, call.leg) for call in calls)
    wanted = {(conversation, leg) for conversation in conversations for leg in range(1, legs + 1)}
    lost = len(wanted - counts.keys())
    strange = len(counts.keys() - wanted)
    doubled = sum(count - 1 for count in counts.values())
    last: dict[int, int] = {}
    reordered = 0
    for call in calls:
        reordered += call.leg < last.get(call.conversation, 0)
        last[call.conversation] = call.leg
    named = {"lost": lost, "handled more than once": doubled, "out of order": reordered, "never sent": strange}
    return [f"{number:,} messages {what}" for what, number in named.items() if number]
