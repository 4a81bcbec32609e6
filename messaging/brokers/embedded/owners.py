"""Who holds a claim on a message, in a form that outlives the holder: claims of dead processes are released."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from uuid import uuid4


def new_owner() -> str:
    """Return a name for a new holder of claims in this process."""
    process = os.getpid()
    return f"{process}:{_start_time(process)}:{uuid4().hex}"


def is_alive(owner: str) -> bool:
    """Return whether the process of a holder still runs, and is not another one with the same number."""
    process, started, _ = owner.split(":")
    if int(process) == os.getpid():
        return started == _own_start_time(os.getpid())
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's process; the visibility timeout decides
    return _start_time(int(process)) in (started, "")


@lru_cache(maxsize=2)
def _own_start_time(process: int) -> str:
    return _start_time(process)


def _start_time(process: int) -> str:
    """Return when a process started, in clock ticks; empty where the system does not tell, "dead" for a zombie."""
    try:
        with Path(f"/proc/{process}/stat").open(encoding="ascii", errors="replace") as status:
            fields = status.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "dead" if fields[0] == "Z" else fields[19]
