"""Nexus in a folder of its own, with a worker and a relay, for a script that is also the module of its agents.

prepare(__file__)               # first, before anything of Nexus is imported
from agents import ...

with running(__file__) as nexus:
    nexus.bus ...
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from examples.harness.options import ROOT
from examples.harness.processes import Process

if TYPE_CHECKING:
    from messaging.api import ReliableCommunicationBus


def _folder(script: str) -> Path:
    base = os.environ.get("EXAMPLES_DIR")
    return (Path(base) if base else ROOT / "var" / "examples") / Path(script).stem


def prepare(script: str) -> None:
    """Set Django up in embedded mode, unless that is done: a worker imports the script as a module.

    Args:
        script: the script's ``__file__``; its database is in ``var/examples/`` (or EXAMPLES_DIR) and begins empty.
    """
    from django.conf import settings

    if settings.configured:
        return
    folder = _folder(script)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in list(os.environ):
        if name.startswith("NEXUS_") or name in ("BROKER_URL", "DATABASE_URL", "REDIS_URL"):
            del os.environ[name]
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "nexus_site.settings",
        "PYTHONPATH": str(ROOT),
        "NEXUS_DATA_DIR": str(folder / "data"),
        "NEXUS_LEASE_SECONDS": "3",  # how soon a killed worker's turn is taken over; installations take longer
        "NEXUS_REDELIVERY_AFTER": "3",
        "LOG_LEVEL": "ERROR",
    }
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0, skip_checks=True)


@dataclass(slots=True)
class Nexus:
    """A running Nexus.

    Args:
        bus: the durable bus.
        worker, relay: its processes, to kill and start again.
    """

    bus: ReliableCommunicationBus
    worker: Process
    relay: Process

    def kill(self) -> None:
        """kill -9 everything, as a power cut would."""
        self.worker.kill()
        self.relay.kill()

    def start(self) -> None:
        """Start everything, again."""
        self.worker.start()
        self.relay.start()


@contextmanager
def running(script: str) -> Iterator[Nexus]:
    """Run a worker and a relay that know the script's agents. What they write is in ``worker.log`` and
    ``relay.log``."""
    from messaging.api import ReliableCommunicationBus

    folder = _folder(script)
    # For the processes only: this one has registered the agents itself.
    module = Path(script).resolve().relative_to(ROOT).with_suffix("")
    os.environ["NEXUS_AGENTS"] = ".".join(module.parts)
    celery = [sys.executable, "-m", "celery", "-A", "nexus_site", "worker", "--pool", "prefork", "--concurrency", "2"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    worker = Process("worker", [*celery, *quiet], folder / "worker.log")
    relay = Process("relay", [sys.executable, "manage.py", "nexus_relay"], folder / "relay.log")
    nexus = Nexus(ReliableCommunicationBus(), worker, relay)
    nexus.start()
    try:
        yield nexus
    finally:
        nexus.bus.close()
        nexus.kill()  # the quickest end, and a safe one: nothing is in memory that is not in the log
