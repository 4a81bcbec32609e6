"""Supervised processes and waiting, which the chaos tests rely on."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from messaging.testing.servers import proctree
from messaging.testing.servers.processes import ProcessError, Supervised
from messaging.testing.servers.waiting import WaitTimeout, wait_until

FOREVER = "import threading; print('up', flush=True); threading.Event().wait()"
WITH_CHILD = (
    "import subprocess, sys, threading\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import threading; threading.Event().wait()'])\n"
    "print('child', child.pid, flush=True)\n"
    "threading.Event().wait()\n"
)


def _python(code: str, folder: Path) -> Supervised:
    return Supervised([sys.executable, "-c", code], log_file=folder / "process.log", name="example")


def test_terminate_returns_how_it_ended(tmp_path: Path) -> None:
    with _python(FOREVER, tmp_path) as process:
        process.wait_for_log("up", 10)
        assert process.terminate(10) == -signal.SIGTERM
        with pytest.raises(ProcessError, match="not running"):
            _ = process.pid


def test_kept_running_starts_again_after_every_kill(tmp_path: Path) -> None:
    process = _python(FOREVER, tmp_path).keep_running()
    try:
        for start in (1, 2, 3):
            wait_until(lambda start=start: process.log().count("up") == start, 10, f"start {start}")  # type: ignore[misc]
            process.kill()
        wait_until(lambda: process.starts == 4 and process.running, 10, "the fourth start")
    finally:
        process.stop()
    assert not process.running
    assert process.starts == 4


def test_kept_running_is_bounded(tmp_path: Path) -> None:
    process = _python("", tmp_path).keep_running(at_most=3)
    wait_until(lambda: process.starts == 3 and not process.running, 20, "three starts")
    process.stop()
    assert process.starts == 3


def test_kill_takes_the_children_even_when_the_main_process_is_gone(tmp_path: Path) -> None:
    with _python(WITH_CHILD, tmp_path) as process:
        wait_until(lambda: process.log().endswith("\n"), 10, "its line")
        child = int(process.log().split()[1])
        assert process.children() == [child]
        process.kill_main()
        assert proctree.is_alive(child)
        process.kill()
        wait_until(lambda: not proctree.is_alive(child), 10, "the child to be gone")


def test_suspend_and_resume(tmp_path: Path) -> None:
    with _python(FOREVER, tmp_path) as process:
        process.wait_for_log("up", 10)
        process.suspend()
        assert proctree.is_stopped(process.pid)
        process.resume()
        wait_until(lambda: not proctree.is_stopped(process.pid), 5, "it to go on")


def test_waiting_for_the_log_of_an_ended_process_fails_at_once(tmp_path: Path) -> None:
    with _python("print('bad luck')", tmp_path) as process, pytest.raises(ProcessError, match="bad luck"):
        process.wait_for_log("up", 60)


def test_wait_until_returns_the_value() -> None:
    values = iter([0, None, 7])
    assert wait_until(lambda: next(values), 5, "a value", interval=0.001) == 7


def test_wait_until_says_what_was_last_seen() -> None:
    def refuse() -> bool:
        raise ConnectionRefusedError("nobody there")

    with pytest.raises(WaitTimeout, match=r"waited [0-9.]+ s for the server; last seen: .*nobody there"):
        wait_until(refuse, 0.01, "the server", ignoring=(OSError,))
