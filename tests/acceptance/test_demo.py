"""`make demo`: the audit team with real processes, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from messaging.testing.servers.nodes import PostgresNode, RabbitMQNode
from messaging.testing.servers.processes import Supervised
from tests.acceptance.demo_input import make_folder
from tests.support.paths import ROOT

DEMO = ROOT / "examples" / "reliable_team_example.py"
KEYS = [
    "messages",
    "handled",
    "duplicates_suppressed",
    "held",
    "redelivered",
    "dead",
    "lost",
    "out_of_order",
    "worker_kills",
    "seconds",
]
LEFT_OUT = {"INPUT", "BROKER", "BROKER_URL", "DATABASE_URL", "REDIS_URL"}


def environment() -> dict[str, str]:
    """The environment without anything that the demo reads."""
    return {name: value for name, value in os.environ.items() if name not in LEFT_OUT and not name.startswith("NEXUS_")}


def run_demo(tmp_path: Path, *arguments: str, timeout: float = 100) -> tuple[int, str]:
    """Run the demo from another folder until it ends; return its exit code and what it printed."""
    command = [sys.executable, str(DEMO), *arguments]
    with Supervised(command, log_file=tmp_path / "demo.log", environment=environment(), folder=tmp_path) as demo:
        code = demo.wait(timeout)
        return code, demo.log()


def check_run(output: Path, files: int, printed: str) -> dict[str, Any]:
    """Everything that the demo promises, read from its files."""
    summary: dict[str, Any] = json.loads((output / "summary.json").read_text())
    assert set(KEYS) <= set(summary)
    # One to the planner; per file one to an analyst, the critic and the reporter; total, expectations, the answer.
    assert summary["messages"] == summary["handled"] == 3 * files + 4, printed
    assert summary["files"] == files
    for key in ("lost", "handled_twice", "out_of_order", "dead"):
        assert summary[key] == 0, printed
    assert summary["worker_kills"] == 1
    assert summary["republished"] == 50
    assert summary["published_out_of_order"] >= files // 16
    assert summary["duplicates_suppressed"] >= 50, printed
    assert summary["held"] > 0
    assert summary["report_identical"] is True
    text = (output / "report.html").read_text(encoding="utf-8")
    before, section = text.split('<section id="run">')
    run, after = section.split("</section>\n", 1)
    assert before + after == (output / "legacy.html").read_text(encoding="utf-8")
    told = dict(re.findall(r"<td class='t'>(.*?)</td><td>(.*?)</td>", run))
    assert told["workers killed with SIGKILL while at work"] == "1"
    assert told["messages published twice more"] == "50"
    assert told["handlings whose order was checked"] == f"{summary['handled']:,}"
    assert [told[name] for name in ("lost", "handled twice", "handled out of order")] == ["0", "0", "0"]
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "&lt;script&gt;alert(2)" in text
    for odd in ("broken.py", "latin.py", "binary.py", "nul.py", "deep.py"):
        assert f"<code>{odd}</code>: <span" in text, odd
    return summary


@pytest.mark.slow
def test_embedded(tmp_path: Path) -> None:
    """The default: SQLite and the embedded broker."""
    files = make_folder(tmp_path / "input")
    arguments = ["--input", "input", "--output", str(tmp_path / "out")]
    code, printed = run_demo(tmp_path, *arguments)
    assert code == 0, printed
    check_run(tmp_path / "out", files, printed)
    assert (tmp_path / "out" / "data" / "nexus.sqlite3").exists()


@pytest.mark.whole
@pytest.mark.slow
def test_real_servers(tmp_path: Path, rabbitmq: RabbitMQNode, rabbitmq_url: str, postgres: PostgresNode) -> None:
    """RabbitMQ and PostgreSQL, twice on the same ones; none of the demo's queues and exchanges stays behind."""
    files = make_folder(tmp_path / "input")
    database = postgres.create_database(f"demo_{secrets.token_hex(4)}")
    for name in ("first", "second"):
        arguments = ["--input", str(tmp_path / "input"), "--output", str(tmp_path / name)]
        code, printed = run_demo(tmp_path, *arguments, "--broker", rabbitmq_url, "--database", database)
        assert code == 0, printed
        check_run(tmp_path / name, files, printed)
    host = rabbitmq_url.rpartition("/")[2]
    for what in ("list_queues", "list_exchanges"):
        names = rabbitmq.rabbitmqctl("--quiet", "--vhost", host, what, "name").split()
        assert "amq.topic" in names or what == "list_queues"
        assert not [name for name in names if name.startswith("demo-")]


def refused(tmp_path: Path, *arguments: str) -> str:
    """Run the demo with arguments that it refuses, and return what it says."""
    result = subprocess.run(
        [sys.executable, str(DEMO), *arguments, "--output", str(tmp_path / "out")],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


def test_missing_folder(tmp_path: Path) -> None:
    assert "There is no folder" in refused(tmp_path, "--input", "nowhere")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("")
    assert "is a file" in refused(tmp_path, "--input", "one.py")


def test_folder_without_python(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no Python file" in refused(tmp_path, "--input", "empty")


def test_folder_of_somebody_else_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").write_text("keep me")
    (tmp_path / "one.py").write_text("")
    assert "was not made by this demo" in refused(tmp_path, "--input", ".")
    assert (tmp_path / "out" / "precious.txt").read_text() == "keep me"


def test_servers_out_of_reach(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("")
    assert "broker cannot be used" in refused(tmp_path, "--input", ".", "--broker", "amqp://127.0.0.1:1//")
    assert "database cannot be used" in refused(
        tmp_path, "--input", ".", "--database", "postgres://nobody@127.0.0.1:1/none"
    )


def test_help_says_what_it_does(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, str(DEMO), "--help"],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0
    assert "--input" in result.stdout
    assert "SIGKILL" in result.stdout
