"""The driver's end of the operator's process, which stays: starting one for each act would take longer than the act."""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.paths import ROOT

TIMEOUT = 120.0


class OperatorError(RuntimeError):
    """What the soak's operator did failed."""


class OperatorProcess:
    """Args:
    environment: the whole one.
    log_file: for what it says beside its answers.
    """

    def __init__(self, environment: Mapping[str, str], log_file: Path) -> None:
        self._log = log_file.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.soak.operator"],
            cwd=ROOT,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )

    def ask(self, *command: str) -> Any:
        """Have it do something; return its answer.

        Raises:
            OperatorError: that failed, or took too long.
        """
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        if pipe_in is None or pipe_out is None:
            raise OperatorError("The operator has no pipes.")
        pipe_in.write(json.dumps(command).encode() + b"\n")
        pipe_in.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(pipe_out, selectors.EVENT_READ)
            if not selector.select(TIMEOUT):
                raise OperatorError(f"{' '.join(command)} took longer than {TIMEOUT:g} s.")
        answer = json.loads(pipe_out.readline() or b'{"error": "it has ended: see operator.log"}')
        if "error" in answer:
            raise OperatorError(f"{' '.join(command)}: {answer['error']}"[:2_000])
        return answer["answer"]

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate(timeout=10)
        self._log.close()
