"""Judges mutants: each stands in a copy of the tree, one at a time per copy, while the chosen tests run there."""

from __future__ import annotations

import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.mutation.mutants import Mutant

KILLED, TIMED_OUT, SURVIVED, NOT_RUN = OUTCOMES = ("killed", "timed out", "survived", "not run")

Work = list[tuple[Mutant, list[tuple[str, float]]]]

_NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "var", "*_cache", ".hypothesis", "results", "*.sqlite3*")
_FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)
_START = 90  # seconds that a run may take besides its tests, on a busy machine
_TIMES_LONGER = 6
_TEST_LIMIT = 30  # seconds for one test


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant. NOT_RUN: no fast test executes its lines."""

    mutant: Mutant
    outcome: str
    tests: int
    killer: str
    seconds: float

    def row(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


class Copies:
    """Copies of the tree, each used by one mutant at a time.

    Args:
        root: the tree, which is never changed.
        number: how many mutants are judged at once.
    """

    def __init__(self, root: Path, number: int) -> None:
        self._root = root
        self._number = number
        self._free: queue.Queue[Path] = queue.Queue()
        self._changes = 0

    @contextmanager
    def made(self) -> Iterator[Copies]:
        """The copies are there inside, and gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="nexus-mutants-") as folder:
            for number in range(self._number):
                copy = Path(folder, str(number))
                shutil.copytree(self._root, copy, ignore=_NOT_COPIED)
                self._free.put(copy)
            yield self

    def judge_all(self, work: Work, told: Callable[[Verdict], None]) -> None:
        """Judge mutants, each by its tests, given with their seconds; `told` hears of each as it ends."""
        with ThreadPoolExecutor(self._number) as pool:
            for future in as_completed([pool.submit(self._judge, mutant, tests) for mutant, tests in work]):
                told(future.result())

    def failing(self, tests: Iterable[str]) -> str:
        """The first of these tests that fails without a mutant; "" when all pass."""
        chosen = sorted({test for test in tests if "::" in test})
        if not chosen:
            return ""
        copy = self._free.get()
        try:
            outcome, killer = _run(copy, chosen, _START + _TEST_LIMIT * len(chosen))
        finally:
            self._free.put(copy)
        return "" if outcome == SURVIVED else killer or outcome

    def _judge(self, mutant: Mutant, tests: list[tuple[str, float]]) -> Verdict:
        if not tests:
            return Verdict(mutant, NOT_RUN, 0, "", 0.0)
        copy = self._free.get()
        try:
            with self._changed(copy / mutant.path, mutant.text):
                began = time.monotonic()
                limit = _START + _TIMES_LONGER * sum(seconds for _, seconds in tests)
                outcome, killer = _run(copy, [test for test, _ in tests], limit)
                return Verdict(mutant, outcome, len(tests), killer, round(time.monotonic() - began, 1))
        finally:
            self._free.put(copy)

    @contextmanager
    def _changed(self, file: Path, text: str) -> Iterator[None]:
        kept = file.read_bytes()
        try:
            self._write(file, text.encode())
            yield
        finally:
            self._write(file, kept)

    def _write(self, file: Path, content: bytes) -> None:
        """With a time of its own: Python tells a stale .pyc by the file's second and size only."""
        file.write_bytes(content)
        self._changes += 1
        os.utime(file, (self._changes, self._changes))


def _run(copy: Path, tests: list[str], limit: float) -> tuple[str, str]:
    """The outcome of tests in a tree, and the first that failed."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-n", "0"]
    command += [f"--timeout={_TEST_LIMIT}", "--hypothesis-seed=0", *tests]
    with subprocess.Popen(
        command, cwd=copy, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        try:
            output, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return TIMED_OUT, ""
    if process.returncode == 0:
        return SURVIVED, ""
    found = _FAILED.search(output)
    return KILLED, found.group(1) if found else output.strip()[-200:]
