"""The demo's workers and relay as processes that cannot outlive it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from examples.harness.options import ROOT

STOP_TIMEOUT = 15.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    """In the child: be killed when the demo is. It catches everything but kill -9 itself."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """One process with its log file, in a process group of its own.

    Args:
        name: for people.
        command: program and arguments.
        log: its log file.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, or start it again."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**os.environ, "LOG_LEVEL": "INFO"},
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Signal the whole group; nothing happens when it is gone."""
        if self._process is not None:
            try:
                os.killpg(self._process.pid, number)
            except (ProcessLookupError, PermissionError):
                return

    def kill(self) -> None:
        """kill -9 the whole group, as a power cut would."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(10)

    def terminate(self) -> None:
        """Ask the main process to end."""
        if self._process is not None and self.running:
            self._process.terminate()

    def wait(self, timeout: float) -> None:
        """Wait for its end at most ``timeout`` seconds, and kill what is left of it."""
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout)
        self.kill()

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-2000:] if self.log.exists() else ""


class Crew:
    """Two workers and a relay.

    Args:
        folder: for their log files.
    """

    def __init__(self, folder: Path) -> None:
        self.workers = [self._worker(number, folder) for number in (1, 2)]
        relay = [sys.executable, "manage.py", "nexus_relay"]
        self.relay = Process("relay", relay, folder / "relay.log")
        self.all = [*self.workers, self.relay]

    @staticmethod
    def _worker(number: int, folder: Path) -> Process:
        name = f"worker-{number}"
        command = [sys.executable, "-m", "celery", "-A", "nexus_site", "worker", "--hostname", f"{name}@demo"]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        return Process(name, [*command, "--pool", "prefork", "--concurrency", "1", *quiet], folder / f"{name}.log")

    def start(self) -> None:
        for process in self.all:
            process.start()

    def dead(self) -> Process | None:
        """A process that ended and should not have."""
        return next((process for process in self.all if not process.running), None)

    def stop(self) -> None:
        """End all, warmly: they finish what they have at hand."""
        for process in self.all:
            process.terminate()
        for process in self.all:
            process.wait(STOP_TIMEOUT)

    def kill(self) -> None:
        """End all at once; the relay may give up its lead first, so that the next run need not wait for that."""
        self.relay.terminate()
        for worker in self.workers:
            worker.kill()
        self.relay.wait(3.0)
