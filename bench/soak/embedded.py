"""The embedded mode on a full disk: no write of any process succeeds for a while.

``RLIMIT_FSIZE`` of the running processes stands for the disk: SQLite gets an error for every page that it writes.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from bench.paths import ROOT
from bench.soak.ledger import Count, SoakLedger
from bench.soak.names import ATTEMPTS_FILE
from messaging.testing.servers import proctree
from messaging.testing.servers.processes import Supervised
from messaging.testing.servers.waiting import wait_until

FULL = 4096
"""Bytes that a file may have while the disk is full."""


def _environment(folder: Path) -> dict[str, str]:
    ours = ("NEXUS_", "DATABASE_URL", "BROKER_URL", "REDIS_URL", "SECRET_KEY")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(ours)},
        "NEXUS_DATA_DIR": str(folder / "data"),
        "NEXUS_APPS": "bench.soak.installed",
        "NEXUS_AGENTS": "bench.soak.agents",
        "NEXUS_VERIFICATION_RULES": str(ROOT / "bench" / "soak" / "installed" / "verification.yaml"),
        "NEXUS_REDELIVERY_AFTER": "5",
        "NEXUS_LEASE_SECONDS": "6",
        "NEXUS_MAX_ATTEMPTS": "15",
        ATTEMPTS_FILE: str(folder / "attempts.log"),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "DJANGO_SETTINGS_MODULE": "nexus_site.settings",
    }


@contextmanager
def _installation(folder: Path, rate: float) -> Iterator[tuple[SoakLedger, dict[str, Supervised]]]:
    environment = _environment(folder)
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
        timeout=120,
    )
    ledger = SoakLedger(folder / "data" / "nexus.sqlite3")
    ledger.create()
    commands = {
        "worker": [sys.executable, "-m", "celery", "--app", "nexus_site", "worker", "--concurrency", "1"],
        "relay": [sys.executable, "manage.py", "nexus_relay"],
        "sender": [sys.executable, "-m", "bench.soak.sender", str(rate)],
    }
    processes = {
        name: Supervised(command, log_file=folder / f"{name}.log", environment=environment, name=name)
        for name, command in commands.items()
    }
    try:
        for process in processes.values():
            process.keep_running()
        yield ledger, processes
    finally:
        for process in processes.values():
            process.stop()
        ledger.close()


def _limit_files(processes: dict[str, Supervised], size: int) -> int:
    count = 0
    for process in processes.values():
        for pid in [process.pid, *process.children()] if process.running else []:
            if proctree.is_alive(pid):
                _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (size if hard < 0 else min(size, hard), hard))
                count += 1
    return count


def disk_full(folder: Path, *, times: int = 3, rate: float = 20.0, seed: int = 1) -> tuple[Count, int, list[float]]:
    """Fill the disk of an embedded installation under load, and make room again.

    Args:
        folder: for its data and logs.
        times: how often.
        rate: messages sent a second.
        seed: of how long the disk stays full.

    Returns:
        The count after everything was handled, how often the disk was full, and the seconds of each recovery.
    """
    random = Random(seed)
    recoveries = []
    with _installation(folder, rate) as (ledger, processes):

        def wait_for_flow(since: float, timeout: float) -> None:
            wait_until(
                lambda: ledger.handled_since("second", since) and ledger.handled_since("sink", since),
                timeout,
                "messages to flow",
                interval=0.1,
            )

        wait_for_flow(0.0, 60)
        hits = 0
        for _ in range(times):
            hits += bool(_limit_files(processes, FULL))
            threading.Event().wait(random.uniform(1.0, 3.0))
            _limit_files(processes, resource.RLIM_INFINITY)
            healed = time.time()
            wait_for_flow(healed, 60)
            recoveries.append(round(time.time() - healed, 2))
        processes["sender"].stop()
        wait_until(lambda: ledger.missing() == 0, 120, "everything to be handled", interval=0.3)
        return ledger.count(), hits, recoveries
