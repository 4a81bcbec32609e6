"""The process that sends: started beforehand, told to go, and kept until the race is over."""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.ground import BenchError
from bench.paths import ROOT
from messaging.testing.servers.reaper import Reaper

START_TIMEOUT = 60.0


class Client:
    """See the module.

    Args:
        command: prints "ready", waits for a line, sends, prints a JSON object, and waits for the end of its input.
        environment: of the process.
        log_file: gets its errors.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log_file: Path) -> None:
        self._command = list(command)
        self._environment = environment
        self._log_file = log_file
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=dict(self._environment),
                cwd=ROOT,
                start_new_session=True,
            )
        Reaper.shared().watch(self._process.pid)
        line = self._read_line(START_TIMEOUT)
        if line != "ready":
            raise self._failed(f"said {line!r} instead of being ready")
        return self

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._running().pid

    def go(self, timeout: float) -> dict[str, Any]:
        """Let it send.

        Args:
            timeout: seconds until it must be done.

        Returns:
            The JSON object that it printed.
        """
        pipe = self._running().stdin
        assert pipe is not None
        pipe.write("go\n")
        pipe.flush()
        answer: dict[str, Any] = json.loads(self._read_line(timeout))
        return answer

    def check_alive(self) -> None:
        """Raise BenchError when it ended."""
        if self._running().poll() is not None:
            raise self._failed("ended")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        if process.stdout is not None:
            process.stdout.close()
        Reaper.shared().forget(process.pid)

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise BenchError("the client was not started")
        return self._process

    def _read_line(self, timeout: float) -> str:
        pipe = self._running().stdout
        assert pipe is not None
        if not select.select([pipe], [], [], timeout)[0]:
            raise self._failed(f"said nothing for {timeout:g} s")
        line = pipe.readline()
        if not line:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._running().wait(5)
            raise self._failed(f"ended with code {self._running().returncode}")
        return line.strip()

    def _failed(self, how: str) -> BenchError:
        log = self._log_file.read_text(errors="replace")[-3_000:]
        return BenchError(f"{' '.join(self._command[-5:])} {how}; its errors end:\n{log}")
