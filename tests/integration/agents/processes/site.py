"""A worker and a relay as real processes, on the run's database, with the agents of one module."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import pytest
from pytest_django.fixtures import Settings

from messaging.api import Envelope, ReliableCommunicationBus
from messaging.directory import names as directory
from messaging.models import Delivery, DeliveryState, Message, WorkerStatus
from messaging.testing.servers.processes import Supervised
from messaging.testing.servers.waiting import wait_until
from messaging.transport import background, muting
from tests.support.secret_scan import plant

CELERY = [sys.executable, "-m", "celery", "-A", "nexus_site", "worker", "--pool", "prefork"]
MASTER_KEY = plant("the master key of a site", secrets.token_hex(32))
QUIET = ["--without-gossip", "--without-mingle", "--without-heartbeat"]


class Site:
    """See the module. Use it as a context manager.

    Args:
        environment: of its processes; DATABASE_URL, BROKER_URL and NEXUS_AGENTS among it.
        folder: for its logs.
        processes: worker processes.
        second_worker: with another worker beside it.
    """

    def __init__(
        self, environment: Mapping[str, str], folder: Path, *, processes: int = 1, second_worker: bool = False
    ) -> None:
        command = [*CELERY, *QUIET, "--concurrency", str(processes)]
        self.second_worker = (
            Supervised(
                [*command, "-n", "second@%h"], log_file=folder / "second.log", environment=environment, name="second"
            )
            if second_worker
            else None
        )
        self.worker = Supervised(command, log_file=folder / "worker.log", environment=environment, name="worker")
        self.relay = Supervised(
            [sys.executable, "manage.py", "nexus_relay"],
            log_file=folder / "relay.log",
            environment=environment,
            name="relay",
        )
        self.bus = ReliableCommunicationBus()

    def __enter__(self) -> Self:
        self.bus.register_agent("web")
        self.worker.start()
        self.relay.start()
        consuming = WorkerStatus.objects.filter(stopped_at__isnull=True)
        wait_until(consuming.exists, 30, lambda: f"the worker to consume:\n{self.worker.log()[-3_000:]}")
        if self.second_worker is not None:
            self.second_worker.start()
            wait_until(lambda: consuming.count() > 1, 30, self.second_worker.log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bus.close()
        background.background_publisher().close()  # its thread must not outlive the test's database
        self.worker.stop()
        if self.second_worker is not None:
            self.second_worker.stop()
        self.relay.stop()

    def ask(self, workflow: UUID, agent: str, data: object, *, timeout: float = 30.0) -> Envelope:
        """Send a message and wait for its reply."""
        return self.bus.request(workflow, agent, "ask", data, sender="web", timeout=timeout)

    def send(self, workflow: UUID, agent: str, data: object) -> UUID:
        """Send a message; return its id."""
        return self.bus.send(workflow, agent, "ask", data, sender="web").id

    def reply_to(self, message: UUID, *, timeout: float = 30.0) -> Any:
        """Wait for the reply to a message; return its data."""
        replies = Message.objects.filter(correlation_id=message).values_list("envelope", flat=True)
        found = wait_until(replies.first, timeout, lambda: f"a reply; unfinished: {self.unfinished()}")
        return json.loads(bytes(found or b""))["data"]

    def kill_and_restart_worker(self) -> None:
        """kill -9 the worker with all its processes, and start it again."""
        self.worker.kill()
        self.worker.start()

    def unfinished(self) -> list[str]:
        """What is not processed, with its last error."""
        found = Delivery.objects.exclude(state=DeliveryState.PROCESSED)
        return [f"{delivery}: {delivery.last_error[-500:]}" for delivery in found]


def site_environment(
    base: Mapping[str, str],
    database_url: str,
    tmp_path: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    agents: str,
    **options: object,
) -> dict[str, str]:
    """The environment of a site in embedded mode, for its processes and for this one.

    Args:
        base: of any process of the project.
        database_url: the run's database.
        tmp_path: holds the transport.
        settings: pytest-django's.
        monkeypatch: pytest's.
        agents: the module that registers agents.
        options: NEXUS settings, in lower case.
    """
    broker = f"embedded://{tmp_path}/transport.sqlite3"
    chosen: dict[str, object] = {
        "LEASE_SECONDS": 3,
        "PUBLISH_GRACE": 1,
        "REDELIVERY_AFTER": 2,
        "RETRY_BASE": 0.1,
        "RELAY_INTERVAL": 0.05,
        "MASTER_KEY": MASTER_KEY,  # this process signs, the workers verify
    }
    chosen |= {name.upper(): value for name, value in options.items()}
    settings.NEXUS = {"BROKER_URL": broker, **chosen}
    # Its thread, once started, keeps the broker that it began with.
    monkeypatch.setattr(background, "_publisher", None)
    monkeypatch.setattr(muting, "_choice", True)  # these tests send to real workers
    directory.forget()
    nexus = {f"NEXUS_{name}": str(value) for name, value in chosen.items()}
    return {**base, **nexus, "DATABASE_URL": database_url, "BROKER_URL": broker, "NEXUS_AGENTS": agents}
