"""Attacks on what is written: lines of logs, files of exports, and secrets in either."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from messaging.api import HandlerContext, TerminalError
from messaging.models import DeadLetter
from messaging.recovery.retention import prune_messages
from nexus_site import settings as site
from tests.support.lab import Lab
from tests.support.paths import ROOT

FORGED = "2026-01-01 00:00:00,000 ERROR nexus.gate: forged"
TEXT = f"x\n{FORGED}\r\n{FORGED}\x1b[2J\x1b]0;owned\x07\u202e\u2028{FORGED}\x85{FORGED}"


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What the site's logging writes."""
    configured: dict[str, Any] = dict(site.LOGGING)
    configurator = logging.config.DictConfigurator(configured)
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(configurator.configure_formatter(dict(configured["formatters"]["plain"])))
    root = logging.getLogger()
    root.addHandler(handler)
    level = root.level
    root.setLevel(logging.DEBUG)
    yield stream
    root.setLevel(level)
    root.removeHandler(handler)


def test_no_text_forges_a_line_of_the_log(lab: Lab, written: io.StringIO) -> None:
    def refuse(message: object, context: HandlerContext) -> None:
        raise TerminalError(TEXT)

    lab.agent("auditor", refuse)
    workflow = lab.bus.start_workflow(TEXT[:200])
    lab.send(workflow, "auditor", {"text": TEXT})
    lab.publish()
    lab.work(2)
    assert DeadLetter.objects.exists()
    logger = logging.getLogger("nexus.outcomes")
    logger.error("told: %s", TEXT)
    try:
        raise ValueError(TEXT)
    except ValueError:
        logger.exception("it failed: %s", TEXT)
    text = written.getvalue()
    assert "forged" in text
    assert not [line for line in text.splitlines() if line.startswith(FORGED[:4]) and "forged" in line[:60]]
    assert not [sign for sign in text if sign != "\n" and not sign.isprintable()]


def test_what_messages_say_chooses_no_file(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    monkeypatch.chdir(folder)
    evil = "../../evil"
    lab.agent("auditor")
    for name in (evil, "/tmp/evil", "..\\evil", "file:///etc/passwd"):
        workflow = lab.bus.start_workflow(name)
        lab.bus.send(workflow, "auditor", "audit.start", {"path": name, "archive": name}, sender="web")
        lab.bus.complete_workflow(workflow)
    lab.publish()
    lab.work(4)
    prune_messages(timedelta(days=30), archive=folder / "archive.jsonl", now=timezone.now() + timedelta(days=60))
    call_command("nexus_keys", "export", "--output", str(folder / "keys.json"), stdout=io.StringIO())
    call_command("nexus_schemas", "export", "--output", str(folder / "schemas.json"), stdout=io.StringIO())
    call_command("nexus_verify", stdout=io.StringIO())
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert [name for name in found if name.startswith("exports")] == [
        "exports/archive.jsonl",
        "exports/keys.json",
        "exports/schemas.json",
    ]
    assert not [name for name in found if "evil" in name]
    assert "private" not in (folder / "keys.json").read_text()
    assert all(key.get("d") is None for key in json.loads((folder / "keys.json").read_text())["keys"])


SECRETS = {
    "SECRET_KEY": "kept-4d1f0c2a9b7e-secret-key-of-the-installation",
    "NEXUS_MASTER_KEY": "5e" * 32,
    "BROKER_URL": "amqp://nexus:kept-9f3e-broker@127.0.0.1:1//",
    "DATABASE_URL": "postgres://nexus:kept-71aa-database@127.0.0.1:1/nexus",
    "REDIS_URL": "redis://:kept-c0de-redis@127.0.0.1:1/0",
    "EMAIL_HOST_PASSWORD": "kept-aa17-mail",
    "LOG_LEVEL": "DEBUG",
}


COMMANDS = """
import sys
from django.core.management import execute_from_command_line
for line in ("check --deploy --database default", "nexus_health", "nexus_keys list", "nexus_verify"):
    arguments = line.split()
    print("==", *arguments, flush=True)
    try:
        execute_from_command_line(["manage.py", *arguments])
    except SystemExit:
        pass
print("== done")
"""


def test_no_secret_is_written(project_environment: dict[str, str]) -> None:
    """No server is there, so every command has something to complain about."""
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS],
        env={**project_environment, **SECRETS, "DEBUG": ""},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    text = done.stdout + done.stderr
    assert "== done" in text
    assert "Traceback" not in text
    assert "kept-" not in text
    assert SECRETS["NEXUS_MASTER_KEY"] not in text
