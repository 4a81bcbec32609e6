"""Workers and the processes that started them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from messaging.testing.servers import proctree
from messaging.testing.servers.processes import Supervised
from messaging.testing.servers.waiting import wait_until
from tests.support.installation import Installation

pytestmark = [pytest.mark.whole, pytest.mark.slow, pytest.mark.timeout(120)]


def start_through_a_shell(installation: Installation, folder: Path) -> Supervised:
    """A worker whose parent ends when the file ``leave`` is there, as when somebody leaves the terminal."""
    log, leave = folder / "orphan.log", folder / "leave"
    log.touch()
    worker = f"{sys.executable} -m celery -A nexus_site worker -P threads -c 1 -l info > {log} 2>&1"
    command = f"{worker} & while [ ! -e {leave} ]; do sleep 0.1; done"
    return Supervised(["/bin/sh", "-c", command], log_file=folder / "shell.log", environment=installation.environment)


def test_a_worker_goes_on_when_the_shell_that_started_it_ends(
    install_embedded: Callable[..., Installation], tmp_path: Path
) -> None:
    installation = install_embedded(relay_interval=0.1)
    installation.relay()
    with start_through_a_shell(installation, tmp_path) as shell:
        wait_until(lambda: "ready" in (tmp_path / "orphan.log").read_text(), 60, "the worker")
        installation.program("sink", "1")
        installation.wait_processed(1, 60)
        (tmp_path / "leave").touch()
        shell.wait(30)
        installation.program("sink", "3")
        installation.wait_processed(4, 60)


def test_pool_processes_end_with_their_worker(install_embedded: Callable[..., Installation]) -> None:
    installation = install_embedded()
    worker = installation.worker(keep=False)
    worker.wait_for_log("ready", 60)
    wait_until(lambda: len(worker.children()) == 2, 30, "two pool processes")
    children = worker.children()
    worker.kill_main()
    wait_until(lambda: not any(proctree.is_alive(child) for child in children), 30, "the pool processes to end")
