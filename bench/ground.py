"""Where the benchmark runs: private servers, a folder, an environment for processes, the same for all systems."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from bench.paths import ROOT
from bench.progress import say
from messaging.testing.servers.nodes import PostgresNode, RabbitMQNode

POSTGRES_SETTINGS = {
    "shared_buffers": "1GB",
    "effective_cache_size": "4GB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "shared_preload_libraries": "pg_stat_statements",
}
"""As PostgreSQL's documentation advises for a server with some memory. fsync and synchronous_commit stay on."""

_OURS = ("NEXUS_", "DATABASE_URL", "BROKER_URL", "REDIS_URL", "DJANGO_", "CELERY_", "PYTHON", "BENCH_")


class BenchError(Exception):
    """Something that the reader has to know in one line."""


class BenchServers:
    """Private servers and a folder; all gone when it is left.

    Args:
        python: the interpreter of the benchmark's environment.
        folder: for logs and data; made, and kept for its logs.
    """

    def __init__(self, python: Path, folder: Path) -> None:
        self.python = str(python)
        self.folder = folder
        self.rabbitmq = RabbitMQNode()
        self.postgres = PostgresNode(durable=True, settings=POSTGRES_SETTINGS)
        self._made: set[str] = set()

    def __enter__(self) -> Self:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        try:
            say("starting a private PostgreSQL and RabbitMQ (about 10 s)")
            self.postgres.start()
            self.rabbitmq.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def remove(self) -> None:
        """Kill the servers and delete their folders."""
        self.rabbitmq.remove()
        self.postgres.remove()

    def program(self, name: str) -> str:
        """The path of a program of the benchmark's environment."""
        return str(Path(self.python).parent / name)

    def environment(self, own: Mapping[str, str]) -> dict[str, str]:
        """The environment of a process: ours without what could reach another installation, and ``own``."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        return {
            **kept,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "SECRET_KEY": "of-the-benchmark-only-0123456789-0123456789-0123456789",
            **own,
        }

    def run(self, command: Sequence[str], own: Mapping[str, str], *, timeout: float = 300.0) -> str:
        """Run a command in the environment of a process and return its output.

        Raises:
            BenchError: it failed; says how.
        """
        done = subprocess.run(
            list(command), cwd=ROOT, env=self.environment(own), capture_output=True, text=True, timeout=timeout
        )
        if done.returncode:
            raise BenchError(
                f"{' '.join(command)} failed with code {done.returncode}:\n{(done.stderr or done.stdout)[-3_000:]}"
            )
        return done.stdout

    def new_database(self, name: str, *, template: str = "template1") -> str:
        """Create an empty database, or a copy of ``template``, replacing one of that name.

        Returns:
            Its URL.
        """
        self.postgres.drop_database(name)
        with psycopg.connect(self.postgres.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
        return self.postgres.url(name)

    def new_virtual_host(self, name: str) -> str:
        """Create an empty virtual host on RabbitMQ.

        Returns:
            Its URL.
        """
        if name in self._made:
            self.rabbitmq.rabbitmqctl("delete_vhost", name)
        self._made.add(name)
        return self.rabbitmq.create_virtual_hosts([name])[0]

    def drop_virtual_host(self, name: str) -> None:
        """Delete a virtual host with its queues."""
        if name in self._made:
            self._made.discard(name)
            self.rabbitmq.rabbitmqctl("delete_vhost", name)

    def settle(self) -> None:
        """Let PostgreSQL write out what earlier runs left, so that no race pays for another one."""
        with psycopg.connect(self.postgres.url(), autocommit=True) as connection:
            connection.execute("CHECKPOINT")
