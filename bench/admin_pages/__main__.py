"""``python -m bench.admin_pages --rows 10000000``: each page of the admin, on a private PostgreSQL with a long log."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from bench.admin_pages.filling import fill_the_rest
from bench.ground import POSTGRES_SETTINGS, BenchError
from bench.paths import ROOT
from bench.progress import fail, say
from bench.workloads.filling import fill
from messaging.testing.servers.nodes import NodeError, PostgresNode

PER_WORKFLOW = 100
SPREAD = 30 * 24 * 3600 * 1000
"""Milliseconds over which the messages are spread, up to now."""


def main() -> int:
    """Fill, measure, print a table; 1 when a page misses the target."""
    parser = argparse.ArgumentParser(prog="python -m bench.admin_pages", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="messages in the log (default 1,000,000)")
    parser.add_argument("--times", type=int, default=20, help="how often each page is asked for (default 20)")
    parser.add_argument("--target", type=float, default=300.0, help="milliseconds at p95 (default 300)")
    parser.add_argument(
        "--database",
        metavar="URL",
        default="",
        help="an empty PostgreSQL database to fill and leave as it is, or one that a run before left so",
    )
    parser.add_argument("--output", type=Path, default=ROOT / "var" / "bench" / "admin_pages.md")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder, _database(arguments.database) as url:
            environment = {
                **{name: value for name, value in os.environ.items() if not name.startswith(("NEXUS_", "BROKER_"))},
                "DATABASE_URL": url,
                "NEXUS_DATA_DIR": folder,
                "DJANGO_SETTINGS_MODULE": "nexus_site.settings",
                "PYTHONPATH": str(ROOT),
            }
            _run(["manage.py", "migrate", "--verbosity", "0"], environment, timeout=300)
            if not _is_filled(url):
                _fill(url, arguments.rows)
            command = ["-m", "bench.admin_pages.measuring", str(arguments.times), str(arguments.target)]
            table = _run(command, environment, timeout=3_600)
    except (BenchError, NodeError) as error:
        fail(str(error))
        return 1
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(table)
    print(table)
    return 1 if "**" in table else 0


@contextmanager
def _database(url: str) -> Iterator[str]:
    """The database that is given, or one on a private server, which goes afterwards."""
    if url:
        yield url
        return
    with PostgresNode(settings=POSTGRES_SETTINGS) as postgres:
        yield postgres.create_database("admin_pages")


def _is_filled(url: str) -> bool:
    with psycopg.connect(url, connect_timeout=10) as connection:
        return bool(connection.execute("SELECT 1 FROM nexus_operator_act LIMIT 1").fetchone())


def _fill(url: str, messages: int) -> None:
    began = time.monotonic()
    now = int(time.time() * 1000)
    every = max(1, SPREAD // messages)
    fill(url, messages, per=PER_WORKFLOW, begin=now - every * messages, every=every)
    fill_the_rest(url, messages)
    say(f"filled in {time.monotonic() - began:.0f} s")


def _run(arguments: list[str], environment: dict[str, str], *, timeout: float) -> str:
    """Run Python; its errors are shown, its output is returned.

    Raises:
        BenchError: it failed.
    """
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, timeout=timeout)
    if done.returncode:
        raise BenchError(f"{' '.join(arguments)} failed with code {done.returncode}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
