"""Looking at and signalling a process together with its descendants, through `/proc`."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


def _stat_fields(pid: int) -> list[str] | None:
    """The fields of `/proc/<pid>/stat` after the command name, or None when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def start_time(pid: int) -> str | None:
    """When a process started, in clock ticks since boot; together with the pid it is unique. None when gone."""
    fields = _stat_fields(pid)
    return None if fields is None else fields[19]


def is_alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    fields = _stat_fields(pid)
    return fields is not None and fields[0] not in "ZX"


def is_stopped(pid: int) -> bool:
    """Whether SIGSTOP holds a process."""
    fields = _stat_fields(pid)
    return fields is not None and fields[0] == "T"


def descendants(pid: int) -> list[int]:
    """Every living descendant of a process, parents before children."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat_fields(int(entry.name))
            if fields is not None:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(0), [])
        found.extend(below)
        waiting.extend(below)
    return found


def members_of_session(leader: int) -> list[int]:
    """Every living process of the session that a process leads, also when the leader itself is gone."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat_fields(int(entry.name))
            if fields is not None and fields[3] == str(leader) and fields[0] not in "ZX":
                found.append(int(entry.name))
    return sorted(found)


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal; nothing happens when the process is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def signal_tree(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process and all its descendants, the process first so that it starts no new ones."""
    everyone = [pid, *descendants(pid)]
    for each in everyone:
        send(each, number)
    if number is not signal.SIGKILL:
        for late in set(descendants(pid)).difference(everyone):
            send(late, number)
