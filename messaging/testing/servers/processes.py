"""Processes of the project under test: started, killed, suspended, and started again whenever they end."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from messaging.core.errors import NexusError
from messaging.testing.servers import proctree
from messaging.testing.servers.reaper import Reaper
from messaging.testing.servers.waiting import wait_until


class ProcessError(NexusError):
    """A process ended unexpectedly, or was used in the wrong state."""


class Supervised:
    """A subprocess with its own process group and a log file. It is killed when the process that made it ends.

    Args:
        command: program and arguments.
        log_file: collects its output and errors over all its lives; its folder is made.
        environment: the whole environment; ours when left out.
        name: for messages; the program's name when left out.
        folder: its working folder; ours when left out.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log_file: Path,
        environment: Mapping[str, str] | None = None,
        name: str = "",
        folder: Path | None = None,
    ) -> None:
        self.command = list(command)
        self.log_file = log_file
        self.name = name or Path(self.command[0]).name
        self._environment = dict(os.environ if environment is None else environment)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._changing = threading.RLock()
        self._ending = threading.Event()
        self._keeper: threading.Thread | None = None
        self.starts = 0

    # --- state ---

    @property
    def running(self) -> bool:
        """Whether the main process lives."""
        process = self._process
        return process is not None and process.poll() is None

    @property
    def pid(self) -> int:
        """The main process's id.

        Raises:
            ProcessError: it is not running.
        """
        process = self._process
        if process is None or process.poll() is not None:
            raise ProcessError(f"{self.name} is not running; its log ends:\n{self.log()[-3_000:]}")
        return process.pid

    @property
    def exit_code(self) -> int | None:
        """How the last life ended; negative is a signal. None while it runs, or before it was started."""
        return None if self._process is None else self._process.poll()

    def log(self, since: int = 0) -> str:
        """What it wrote, from a byte position on (see `log_position`)."""
        try:
            with self.log_file.open("rb") as log:
                log.seek(since)
                return log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    @property
    def log_position(self) -> int:
        """The present end of the log, in bytes."""
        try:
            return self.log_file.stat().st_size
        except FileNotFoundError:
            return 0

    def wait_for_log(self, text: str, timeout: float, *, since: int = 0) -> None:
        """Wait until a text appears in the log.

        Raises:
            WaitTimeout: it did not within `timeout` seconds; ends with the log.
            ProcessError: the process ended without writing it, and nothing starts it again.
        """

        def seen() -> bool:
            ended = not self.running and self._keeper is None
            if text in self.log(since):
                return True
            if ended:
                raise ProcessError(f"{self.name} ended with {self.exit_code}:\n{self.log(since)[-3_000:]}")
            return False

        wait_until(seen, timeout, lambda: f"{text!r} in the log of {self.name}:\n{self.log(since)[-3_000:]}")

    # --- life ---

    def start(self) -> Self:
        """Start it; nothing happens when it runs already."""
        with self._changing:
            if self.running:
                return self
            self._forget()
            self.log_file.parent.mkdir(parents=True, exist_ok=True)
            with self.log_file.open("ab") as log:
                self._process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self._folder,
                    env=self._environment,
                    start_new_session=True,
                )
            Reaper.shared().watch(self._process.pid)
            self.starts += 1
        return self

    def keep_running(self, *, at_most: int = 1_000) -> Self:
        """Start it, and start it again whenever it ends, as a process manager would, until `stop()`.

        Args:
            at_most: starts altogether, so that a process that cannot start does not spin for ever.
        """
        with self._changing:
            if self._keeper is not None:
                raise ProcessError(f"{self.name} is kept running already")
            self._ending.clear()
            self.start()
            self._keeper = threading.Thread(target=self._keep, args=(at_most,), name=f"keep {self.name}", daemon=True)
            self._keeper.start()
        return self

    def _keep(self, at_most: int) -> None:
        while not self._ending.is_set() and self.starts < at_most:
            process = self._process
            if process is not None:
                process.wait()
            with self._changing:
                if not self._ending.is_set():
                    self._kill_group()
                    self.start()

    def wait(self, timeout: float) -> int:
        """Wait for the end of the main process.

        Returns:
            Its exit code; negative is a signal.

        Raises:
            ProcessError: it still runs after `timeout` seconds, or was never started.
        """
        if self._process is None:
            raise ProcessError(f"{self.name} was never started")
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise ProcessError(f"{self.name} still runs after {timeout:g} s:\n{self.log()[-3_000:]}") from error

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the main process only."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9 the main process and its whole group."""
        process = self._process
        self._kill_group()
        if process is not None:
            process.wait(10)

    def kill_main(self) -> None:
        """kill -9 the main process only; its children become orphans until `kill()`, `stop()` or the next start."""
        process = self._process
        self.signal(signal.SIGKILL)
        if process is not None:
            process.wait(10)

    def children(self) -> list[int]:
        """The process ids of the living descendants of the main process."""
        return proctree.descendants(self.pid)

    def terminate(self, timeout: float = 30.0) -> int:
        """SIGTERM the main process and wait for it to end by itself.

        Returns:
            Its exit code; negative is a signal.

        Raises:
            ProcessError: it did not end within `timeout` seconds.
        """
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def suspend(self) -> None:
        """SIGSTOP the main process and its descendants: connections stay open, nothing moves."""
        pid = self.pid
        proctree.signal_tree(pid, signal.SIGSTOP)
        wait_until(lambda: proctree.is_stopped(pid), 5, f"{self.name} to be stopped")

    def resume(self) -> None:
        """SIGCONT after `suspend()`."""
        proctree.signal_tree(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it for good: no more restarts, the whole group killed."""
        self._ending.set()
        with self._changing:
            keeper, self._keeper = self._keeper, None
            self.kill()
            self._forget()
        if keeper is not None:
            keeper.join(10)

    def _kill_group(self) -> None:
        if self._process is not None:
            for pid in proctree.members_of_session(self._process.pid):
                proctree.send(pid, signal.SIGKILL)

    def _forget(self) -> None:
        if self._process is not None:
            Reaper.shared().forget(self._process.pid)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __str__(self) -> str:
        return self.name
