"""What every private server has in common: a folder, a port, and a life that a test controls."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from messaging.core.errors import NexusError
from messaging.testing.servers import proctree
from messaging.testing.servers.nodes.ports import free_port
from messaging.testing.servers.reaper import Reaper
from messaging.testing.servers.waiting import wait_until


class NodeError(NexusError):
    """A private server did not start, did not answer, or was used in the wrong state."""


class Node(ABC):
    """A private server. Its port and folder stay the same from its creation to `remove()`.

    A node is started and stopped by one thread at a time. It is removed when the process that made it ends.
    """

    #: The server's name, for messages.
    service: ClassVar[str]
    #: The Debian package that brings it.
    apt_package: ClassVar[str]
    #: The signal that stops it in good order.
    _stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self) -> None:
        reason = self.missing()
        if reason is not None:
            raise NodeError(reason)
        self._owner = os.getpid()
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.service.lower()}-{self.port}-"))
        self.log_file = self.folder / "output.log"
        self._process: subprocess.Popen[bytes] | None = None
        Reaper.shared().watch_folder(self.folder)
        atexit.register(self.remove)

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """Why this server cannot run here, with what to install; None when it can."""

    @property
    @abstractmethod
    def data_folder(self) -> Path:
        """Where the server keeps what must survive a restart."""

    @abstractmethod
    def _command(self) -> list[str]:
        """The command that runs the server in the foreground."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the server does its work; may raise what `_not_yet` lists."""

    _not_yet: ClassVar[tuple[type[Exception], ...]] = (OSError,)

    def _environment(self) -> Mapping[str, str]:
        return os.environ

    def _user(self) -> str | None:
        """The user to run as, when it must not be ours."""
        return None

    def _prepare(self) -> None:
        """Make the data folder when there is none. Called before every start."""
        self.data_folder.mkdir(parents=True, exist_ok=True)

    # --- state ---

    @property
    def running(self) -> bool:
        """Whether the server's process lives. A suspended one does."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The server's process id.

        Raises:
            NodeError: it is not running.
        """
        if self._process is None or self._process.poll() is not None:
            raise NodeError(f"{self} is not running; start() it first")
        return self._process.pid

    def log_tail(self, characters: int = 3_000) -> str:
        """The end of what the server wrote to its output."""
        try:
            return self.log_file.read_text(errors="replace")[-characters:]
        except OSError:
            return ""

    # --- life ---

    def start(self, timeout: float = 90.0) -> Self:
        """Start the server and wait until it answers; nothing happens when it runs already.

        Args:
            timeout: seconds until it must answer.

        Raises:
            NodeError: it ended, or did not answer in time; the message ends with its log.
        """
        if self.running:
            return self
        self._prepare()
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=dict(self._environment()),
                start_new_session=True,
                user=self._user(),
                extra_groups=[] if self._user() else None,
            )
        Reaper.shared().watch(self._process.pid)
        try:
            wait_until(self._answers_or_ended, timeout, f"{self} to answer", ignoring=self._not_yet)
        except AssertionError as error:
            self.kill()
            raise NodeError(f"{error}\n{self.log_tail()}") from error
        return self

    def _answers_or_ended(self) -> bool:
        if not self.running:
            code = self._process.returncode if self._process else None
            raise NodeError(f"{self} ended with code {code} while starting\n{self.log_tail()}")
        return self._answers()

    def stop(self, timeout: float = 30.0) -> None:
        """Stop the server in good order; kill it when that takes longer than `timeout` seconds."""
        if self._process is None or self._process.poll() is not None:
            self._ended()
            return
        self.resume()
        self._process.send_signal(self._stop_signal)
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
        self._ended()

    def kill(self) -> None:
        """kill -9 the server and all its processes, as a power cut would; returns when they are gone."""
        if self._process is not None and self._process.poll() is None:
            pid = self._process.pid
            everyone = [pid, *proctree.descendants(pid)]
            proctree.signal_tree(pid, signal.SIGKILL)
            self._process.wait(10)
            wait_until(lambda: not any(map(proctree.is_alive, everyone)), 10, f"{self}'s processes to be gone")
        self._ended()

    def _ended(self) -> None:
        if self._process is not None:
            Reaper.shared().forget(self._process.pid)

    def suspend(self) -> None:
        """SIGSTOP the server and all its processes: it stays connected and answers nothing."""
        pid = self.pid
        proctree.signal_tree(pid, signal.SIGSTOP)
        wait_until(lambda: proctree.is_stopped(pid), 5, f"{self} to be stopped")

    def resume(self) -> None:
        """SIGCONT after `suspend()`; harmless otherwise."""
        proctree.signal_tree(self.pid, signal.SIGCONT)

    def restart(self, timeout: float = 90.0) -> float:
        """Stop in good order and start again on the same port and data.

        Returns:
            The seconds it took.
        """
        began = time.monotonic()
        self.stop()
        self.start(timeout)
        return time.monotonic() - began

    def wipe_data(self) -> None:
        """Lose the server's disk: delete everything that would survive a restart.

        Raises:
            NodeError: it still runs.
        """
        if self.running:
            raise NodeError(f"{self} is running; stop() or kill() it before wipe_data()")
        shutil.rmtree(self.data_folder, ignore_errors=True)

    def remove(self) -> None:
        """Kill the server and delete its folder. The node cannot be used again."""
        if self._owner != os.getpid():
            return  # A forked child runs our atexit handlers, but the server is not its own.
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        Reaper.shared().forget_folder(self.folder)
        with contextlib.suppress(Exception):
            atexit.unregister(self.remove)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def __str__(self) -> str:
        return f"{self.service} on port {self.port}"
