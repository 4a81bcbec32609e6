"""Ends what this process started, even when this process is killed.

A small second process reads from a pipe what to watch. The pipe closes when this process ends, however it ends; the
reaper then kills what is still watched and removes the temporary folders. (PR_SET_PDEATHSIG would not do: it fires
when the *thread* that started the child ends, and changing the user clears it.)
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

from messaging.testing.servers import proctree

_ABOVE_THE_PACKAGE = Path(__file__).resolve().parents[3]


class Reaper:
    """This process's end of the pipe. Use `Reaper.shared()`; the second process starts with the first call."""

    _shared: Reaper | None = None
    _creating = threading.Lock()

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._writing = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "messaging.testing.servers.reaper"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd=_ABOVE_THE_PACKAGE,
            start_new_session=True,
            text=True,
        )

    @classmethod
    def shared(cls) -> Reaper:
        """The reaper of this process; a forked child gets one of its own."""
        with cls._creating:
            if cls._shared is None or cls._shared._owner != os.getpid():
                cls._shared = cls()
            return cls._shared

    def watch(self, pid: int) -> None:
        """Kill this process, its descendants and its session when the owner ends."""
        self._tell("watch", str(pid))

    def forget(self, pid: int) -> None:
        """The process has ended by itself or was stopped: its number may be reused."""
        self._tell("forget", str(pid))

    def watch_folder(self, folder: Path) -> None:
        """Remove this folder, with all that is in it, when the owner ends."""
        self._tell("folder", str(folder))

    def forget_folder(self, folder: Path) -> None:
        """The folder is removed already, or is to be kept."""
        self._tell("keep", str(folder))

    def _tell(self, word: str, value: str) -> None:
        pipe = self._process.stdin
        if pipe is None:
            return
        with self._writing, contextlib.suppress(OSError, ValueError):
            pipe.write(f"{word} {value}\n")
            pipe.flush()


def _kill(pid: int, started: str | None) -> None:
    if started is not None and proctree.start_time(pid) == started:
        proctree.signal_tree(pid, signal.SIGKILL)
    for member in proctree.members_of_session(pid):
        proctree.send(member, signal.SIGKILL)


def main() -> None:
    """The second process: read words until the owner is gone, then clean up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    processes: dict[int, str | None] = {}
    folders: list[Path] = []
    for line in sys.stdin:
        word, _, value = line.rstrip("\n").partition(" ")
        if word == "watch":
            processes[int(value)] = proctree.start_time(int(value))
        elif word == "forget":
            processes.pop(int(value), None)
        elif word == "folder":
            folders.append(Path(value))
        elif word == "keep" and Path(value) in folders:
            folders.remove(Path(value))
    for pid, started in reversed(processes.items()):
        _kill(pid, started)
    for folder in reversed(folders):
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
