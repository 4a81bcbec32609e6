"""Nexus on PostgreSQL and RabbitMQ, as it is run in production."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import psycopg

from bench.ground import BenchServers
from bench.paths import ROOT
from bench.systems.base import System
from messaging.testing.servers.waiting import WaitTimeout, wait_until

TEMPLATE = "nexus_template"
SETTLE_TIMEOUT = 20.0
CHECKED = ROOT / "bench" / "apps" / "checked"

CHECKS = {
    "deliveries are not processed": "SELECT count(*) FROM nexus_delivery WHERE state <> 'processed'",
    "mailboxes are not at their end": "SELECT count(*) FROM nexus_mailbox WHERE sent <> processed",
    "messages lack their deliveries": (
        "SELECT (SELECT sum(sent) FROM nexus_mailbox) - (SELECT count(*) FROM nexus_delivery)"
    ),
    "processed-ID rows too few or too many": (
        "SELECT (SELECT count(*) FROM nexus_delivery) - (SELECT count(*) FROM nexus_processed_message)"
    ),
    "workflows have holes in their sequence": (
        "SELECT count(*) FROM nexus_workflow w WHERE sequence <>"
        " (SELECT count(*) FROM nexus_message m WHERE m.workflow_id = w.id)"
    ),
    "dead letters": "SELECT count(*) FROM nexus_dead_letter",
}
"""What the log must show when everything was handled: each statement counts what is wrong."""


def migrate(ground: BenchServers) -> None:
    """Make the database that every Nexus database is a copy of, once a run."""
    with psycopg.connect(ground.postgres.url(), autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (TEMPLATE,)).fetchone():
            return
    url = ground.new_database(TEMPLATE)
    ground.run(
        [ground.python, "manage.py", "migrate", "--verbosity", "0"],
        {"DATABASE_URL": url, "NEXUS_DATA_DIR": str(ground.folder / "migrate")},
    )


class NexusSystem(System):
    """See the module.

    Args:
        ground: where it runs.
        tag: makes its database, virtual host and log files its own.
        processes: worker processes.
        database: of an earlier measurement, which is used again and kept; a new one when left out.
    """

    name = "nexus"
    guarantee = "no loss, effectively once, in order; every message in the log"
    settings: ClassVar[tuple[str, ...]] = (
        "celery -A nexus_site worker -P prefork -c 2, one nexus_relay",
        "all checks on, signed and verified (Ed25519)",
        "PostgreSQL fsync on, quorum queue, pipelined confirms",
        "NEXUS_BATCH_SIZE and NEXUS_PREFETCH at their defaults",
    )

    def __init__(self, ground: BenchServers, tag: str, *, processes: int = 2, database: str = "") -> None:
        super().__init__(ground, tag)
        self._workers = processes
        self._kept = database
        self.database_url = ""

    def prepare(self) -> Mapping[str, str]:
        migrate(self.ground)
        if self._kept:
            self.database_url = self.ground.postgres.url(self._kept)
        else:
            self.database_url = self.ground.new_database(self.tag, template=TEMPLATE)
        return {
            "DATABASE_URL": self.database_url,
            "BROKER_URL": self.ground.new_virtual_host(self.tag),
            "NEXUS_DATA_DIR": str(self.folder / "data"),
            "NEXUS_AGENTS": "bench.apps.nexus_agents",
        }

    def worker_commands(self) -> Sequence[Sequence[str]]:
        worker = [
            self.ground.program("celery"),
            "-A",
            "nexus_site",
            "worker",
            "-P",
            "prefork",
            "-c",
            str(self._workers),
        ]
        return [[*worker, "--loglevel", "INFO"], [self.ground.python, "manage.py", "nexus_relay"]]

    def client_command(self) -> Sequence[str]:
        return [self.ground.python, "-m", "bench.apps.nexus_client"]

    def clean_up(self) -> None:
        self.ground.drop_virtual_host(self.tag)
        if not self._kept:
            self.ground.postgres.drop_database(self.tag)

    def check(self) -> list[str]:
        return check_log(self.database_url)


def _connect(url: str) -> Any:
    """A connection to either database; both answer ``execute(…).fetchone()``."""
    if url.startswith("sqlite:///"):
        return contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///")))
    return psycopg.connect(url, autocommit=True)


def check_log(url: str) -> list[str]:
    """Say what the log shows was lost, doubled or left behind; waits a while for the last commits."""
    wrong: dict[str, int] = {}

    def settled() -> bool:
        wrong.clear()
        for what, statement in CHECKS.items():
            row = connection.execute(statement).fetchone()
            if row is not None and row[0]:
                wrong[what] = int(row[0])
        return not wrong

    with _connect(url) as connection:
        try:
            wait_until(settled, SETTLE_TIMEOUT, "the log to be settled", interval=0.5)
        except WaitTimeout:
            return [f"{number:,} {what}" for what, number in wrong.items()]
    return []


class UnsignedNexus(NexusSystem):
    """Nexus without signatures: what they cost is the difference."""

    name = "nexus-unsigned"
    guarantee = "as nexus, without signatures"
    settings = ("as nexus, NEXUS_SIGNING=off",)

    def prepare(self) -> Mapping[str, str]:
        return {**super().prepare(), "NEXUS_SIGNING": "off"}


class CheckedNexus(NexusSystem):
    """Nexus with every check on that an installation can switch on."""

    name = "nexus-checked"
    settings = ("as nexus, with an access policy, a schema of the messages' type and the default verification rules",)

    def prepare(self) -> Mapping[str, str]:
        environment = {
            **super().prepare(),
            "NEXUS_APPS": "bench.apps.checked",
            "NEXUS_VERIFICATION_RULES": str(CHECKED / "verification.yaml"),
        }
        policy = str(CHECKED / "access.yaml")
        self.ground.run([self.ground.python, "manage.py", "nexus_access", "import", policy], environment)
        return environment


class EmbeddedNexus(NexusSystem):
    """Nexus on SQLite with its embedded broker: nothing to install, nothing to run beside it."""

    name = "nexus-embedded"
    guarantee = NexusSystem.guarantee
    settings = (
        "celery -A nexus_site worker -P prefork, one nexus_relay, no servers",
        "SQLite (WAL, synchronous=FULL) and the embedded broker's SQLite file",
    )

    def prepare(self) -> Mapping[str, str]:
        data = self.folder / "data"
        environment = {"NEXUS_DATA_DIR": str(data), "NEXUS_AGENTS": "bench.apps.nexus_agents"}
        self.ground.run([self.ground.python, "manage.py", "migrate", "--verbosity", "0"], environment)
        self.database_url = f"sqlite:///{data / 'nexus.sqlite3'}"
        return environment

    def clean_up(self) -> None:
        shutil.rmtree(self.folder / "data", ignore_errors=True)
