"""Programs outside, as processes of their own: they need a key and a RabbitMQ user, neither Django nor the database."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from messaging.models import Message
from messaging.security.signatures import foreign
from messaging.testing.servers.waiting import wait_until
from tests.support.lab import Lab

PROGRAMS = Path(__file__).parents[2] / "examples" / "foreign_sender"
pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]


@pytest.fixture
def outside(
    rabbitmq_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[tuple[Lab, Path]]:
    """A laboratory on RabbitMQ that knows the program ``shop``, and the folder with its key."""
    lab = Lab(settings, monkeypatch, broker_url=rabbitmq_url)
    lab.agent("clerk")
    run([sys.executable, str(PROGRAMS / "producer.py"), "keygen", "shop"], tmp_path)
    foreign.register("shop", (tmp_path / "shop.public.jwk").read_text(), "shop", who="test")
    yield lab, tmp_path
    lab.close()


def run(command: list[str], folder: Path) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}  # nothing of this project
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def stored(lab: Lab, count: int) -> bool:
    lab.relay.turn()
    return Message.objects.count() >= count


def test_a_python_program_sends_and_sends_again(outside: tuple[Lab, Path], rabbitmq_url: str) -> None:
    lab, folder = outside
    command = [sys.executable, str(PROGRAMS / "producer.py"), "send", "--url", rabbitmq_url]
    command += ["--key", "shop.private.jwk", "--kid", "shop", "--source", "shop", "--to", "clerk"]
    command += ["--workflow", "order-7", "--type", "order.placed"]
    run([*command, "--id", "a", '{"items": 3}'], folder)
    run([*command, "--id", "b", '{"items": 4}'], folder)
    wait_until(lambda: stored(lab, 2), 30, "the event is stored")
    rows = Message.objects.order_by("sequence")
    assert [(row.source, row.subject, row.type, row.sequence) for row in rows] == [
        ("shop", "clerk", "order.placed", 1),
        ("shop", "clerk", "order.placed", 2),
    ]


def test_a_javascript_program_sends(outside: tuple[Lab, Path], rabbitmq_url: str) -> None:
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    lab, folder = outside
    for name in ("package.json", "producer.mjs"):
        shutil.copy(PROGRAMS / name, folder)
    try:
        subprocess.run([npm, "install", "--no-audit", "--no-fund"], cwd=folder, timeout=90, check=True)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"amqplib cannot be installed here: {error}")
    attributes = '{"source": "shop", "subject": "clerk", "partitionkey": "order-8", "type": "order.placed", "data": 1}'
    run(["node", "producer.mjs", rabbitmq_url, "shop.private.jwk", "shop", attributes], folder)
    wait_until(lambda: stored(lab, 1), 30, "the event is stored")
    assert Message.objects.get().source == "shop"
