"""A whole installation in real processes: workers, relays and programs that send, on given servers."""

from __future__ import annotations

import os
import secrets
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg import sql

from messaging.testing.servers.nodes import PostgresNode
from messaging.testing.servers.nodes.ports import free_port
from messaging.testing.servers.processes import ProcessError, Supervised
from messaging.testing.servers.waiting import PATIENCE, wait_until
from tests.support.paths import ROOT
from tests.support.secret_scan import plant

PYTHON = sys.executable
BOOT = 60.0
TEMPLATE = "nexus_template"


def process_environment(folder: Path) -> dict[str, str]:
    """The environment for a process of this project, in embedded mode with files below an empty folder."""
    kept = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "NEXUS_DATA_DIR"}}
    return {
        **kept,
        "NEXUS_DATA_DIR": str(folder / "var"),
        # What workers beside RabbitMQ insist on: a key of their own, and, to run on SQLite, to be a developer's.
        "SECRET_KEY": plant("the SECRET_KEY of a process", secrets.token_urlsafe(32)),
        "DEBUG": "1",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "DJANGO_SETTINGS_MODULE": "nexus_site.settings",
    }


def migrated_database(postgres: PostgresNode, name: str, environment: Mapping[str, str]) -> str:
    """Create a database with all tables and the ledger; migrated once for each server, then copied."""
    with psycopg.connect(postgres.url(), autocommit=True, connect_timeout=5) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (TEMPLATE,)).fetchone()
    if known is None:
        url = postgres.create_database(f"{TEMPLATE}_new")
        run_program(["-m", "tests.support.race", "prepare"], {**environment, "DATABASE_URL": url}, timeout=120)
        with psycopg.connect(postgres.url(), autocommit=True, connect_timeout=5) as connection:
            connection.execute(f"ALTER DATABASE {TEMPLATE}_new RENAME TO {TEMPLATE}")
    postgres.drop_database(name)
    with psycopg.connect(postgres.url(), autocommit=True, connect_timeout=5) as connection:
        copy = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(TEMPLATE))
        connection.execute(copy)
    return postgres.url(name)


def run_program(arguments: list[str], environment: Mapping[str, str], *, timeout: float) -> str:
    """Run Python with arguments; return its output.

    Raises:
        AssertionError: it failed; ends with what it wrote.
    """
    timeout *= PATIENCE
    done = subprocess.run(
        [PYTHON, *arguments],
        env=dict(environment),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, f"{arguments} ended with {done.returncode}:\n{done.stderr[-4_000:]}"
    return done.stdout


class Installation:
    """Its processes are killed at the end of the block.

    Args:
        folder: for logs and files.
        environment: of every process; DATABASE_URL and BROKER_URL among it.
        options: NEXUS settings, in lower case.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], **options: object) -> None:
        self.folder = folder
        self.attempts_file = folder / "attempts"
        self.attempts_file.touch()
        self.environment = {
            **environment,
            "DEBUG": "",
            "NEXUS_AGENTS": "tests.support.fault_points,tests.support.race_agents,tests.support.saga_agents",
            "RACE_ATTEMPTS": str(self.attempts_file),
            **{f"NEXUS_{name.upper()}": str(value) for name, value in options.items()},
        }
        self.processes: list[Supervised] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            process.stop()

    # --- processes ---

    def _process(self, name: str, arguments: list[str], environment: Mapping[str, str]) -> Supervised:
        process = Supervised(
            [PYTHON, *arguments],
            log_file=self.folder / f"{name}.log",
            environment={**self.environment, **environment},
            name=name,
        )
        self.processes.append(process)
        return process

    def worker(self, *, concurrency: int = 2, keep: bool = True, **environment: str) -> Supervised:
        """Start a worker; it is started again whenever it ends, if it is to be kept."""
        name = f"worker-{len(self.processes)}"
        arguments = ["-m", "celery", "-A", "nexus_site", "worker", "-P", "prefork", "-c", str(concurrency)]
        process = self._process(name, [*arguments, "-n", f"{name}@localhost", "-l", "info"], environment)
        return process.keep_running() if keep else process.start()

    def relay(self, *, keep: bool = True, **environment: str) -> Supervised:
        """Start a relay; it is started again whenever it ends, if it is to be kept."""
        process = self._process(f"relay-{len(self.processes)}", ["manage.py", "nexus_relay"], environment)
        return process.keep_running() if keep else process.start()

    def web(self, *, asgi: bool = False) -> str:
        """Start a web process, gunicorn or uvicorn; return its address."""
        port = free_port()
        address = f"127.0.0.1:{port}"
        wsgi = ["gunicorn", "nexus_site.wsgi", "--bind", address, "--threads", "4", "--no-control-socket"]
        command = ["uvicorn", "nexus_site.asgi:application", "--port", str(port)] if asgi else wsgi
        process = self._process("web-asgi" if asgi else "web", ["-m", *command], {}).start()
        process.wait_for_log("Uvicorn running on" if asgi else "Listening at", BOOT)
        return f"http://{address}"

    def program(self, *arguments: str, timeout: float = 120.0) -> str:
        """Run a program of ``tests.support.race`` to its end; return its output."""
        return run_program(["-m", "tests.support.race", *arguments], self.environment, timeout=timeout)

    def run_module(self, name: str, *arguments: str, timeout: float = 60.0) -> str:
        """Run a module to its end; return its output."""
        return run_program(["-m", name, *arguments], self.environment, timeout=timeout)

    def run_command(self, *arguments: str, timeout: float = 60.0) -> str:
        """Run a command of manage.py; return its output."""
        return run_program(["manage.py", *arguments], self.environment, timeout=timeout)

    # --- looking, with a connection of our own ---

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the database."""
        url = self.environment["DATABASE_URL"]
        if url.startswith("sqlite:///"):
            with closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=20)) as file:
                return file.execute(statement).fetchall()
        with psycopg.connect(url, connect_timeout=5) as connection:
            return connection.execute(statement.encode()).fetchall()

    def states(self) -> Counter[str]:
        """How many deliveries are in each state."""
        return Counter(dict(self.query("SELECT state, count(*) FROM nexus_delivery GROUP BY state")))

    def wait_processed(self, count: int, timeout: float) -> float:
        """Wait until so many deliveries are processed; return the seconds it took."""
        began = time.monotonic()

        def done() -> bool:
            broken = [process for process in self.processes if "does not start" in process.log()]
            assert not broken, self.logs()
            return self.states()["processed"] >= count

        wait_until(
            done,
            timeout,
            lambda: f"{count} processed deliveries; there are {dict(self.states())}. {self.logs()}",
            interval=0.1,
            ignoring=(psycopg.Error,),
        )
        return time.monotonic() - began

    def logs(self, characters: int = 1_500) -> str:
        """The ends of all logs."""
        return "\n".join(f"--- {process}:\n{process.log()[-characters:]}" for process in self.processes)

    def attempts(self) -> list[tuple[str, str, int, str]]:
        """(workflow, agent, sequence, delivery) of every call of a handler."""
        lines = (line.split() for line in self.attempts_file.read_text().splitlines())
        return [(workflow, agent, int(sequence), delivery) for workflow, agent, sequence, delivery in lines]

    def assert_handled_once_in_order(self, count: int) -> None:
        """Every delivery has one row in the ledger, each mailbox's rows stand in order, and nothing is left."""
        rows = self.query("SELECT workflow, agent, sequence, delivery FROM tests_ledger ORDER BY id")
        doubles = [row for row, times in Counter(row[3] for row in rows).items() if times > 1]
        assert doubles == []
        assert len(rows) == count
        by_mailbox: dict[tuple[str, str], list[int]] = {}
        for workflow, agent, sequence, _ in rows:
            by_mailbox.setdefault((workflow, agent), []).append(sequence)
        for mailbox, sequences in by_mailbox.items():
            assert sequences == sorted(sequences), f"{mailbox} was handled out of order"
        assert {row[3] for row in rows} <= {attempt[3] for attempt in self.attempts()}
        assert self.states() == Counter(processed=count)
        assert self.query("SELECT * FROM nexus_dead_letter") == []


class Repeatedly:
    """Does something again and again in a thread, until the block ends.

    Args:
        seconds: between two times.
        action: what to do; it gets the number of the time, from 0.
    """

    def __init__(self, seconds: float, action: Callable[[int], None]) -> None:
        self.times = 0
        self._seconds = seconds
        self._action = action
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._ending.wait(self._seconds):
            with suppress(ProcessError):  # what it acts on ended at this moment
                self._action(self.times)
            self.times += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join(60)
