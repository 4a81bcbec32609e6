"""The legacy mode opens no connection at all: neither to a broker nor to a database, not even to a file of one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import socket, sqlite3, sys

def refuse(*arguments, **options):
    raise AssertionError(f"a connection was opened: {arguments}")

import psycopg, amqp, kombu, redis
sqlite3.connect = sqlite3.dbapi2.connect = refuse
socket.socket.connect = socket.socket.connect_ex = socket.create_connection = refuse
psycopg.connect = psycopg.Connection.connect = refuse
WATCHED = {"socket.connect", "sqlite3.connect"}
sys.addaudithook(lambda event, values: refuse(event, values) if event in WATCHED else None)

import django
django.setup()
from messaging.api import CommunicationBus, HandlerKind, ReliableCommunicationBus

async def slow(message, context):
    context.reply("slowly")

def quick(message, context):
    context.reply([message.data, context.attempt])

for bus in (ReliableCommunicationBus(legacy_mode=True), CommunicationBus()):
    bus.register_agent("web")
    bus.register_agent("quick", quick)
    bus.register_agent("slow", slow, kind=HandlerKind.LEASED)
    bus.create_group("all", ["quick", "slow"])
    workflow = bus.start_workflow("legacy", deadline=60, deduplication_id="job")
    assert bus.request(workflow, "quick", "ask", 1, sender="web").data == [1, 1]
    assert bus.request(workflow, "slow", "ask", sender="web").data == "slowly"
    bus.send_to_group(workflow, "all", "tell", sender="web")
    bus.pause_workflow(workflow)
    bus.resume_workflow(workflow)
    assert bus.health_check()["ok"] is True
    bus.complete_workflow(workflow)
    bus.close()
print("no connection")
"""


@pytest.mark.parametrize(
    "servers",
    [
        {},
        {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none", "BROKER_URL": "amqp://guest:guest@127.0.0.1:9//"},
    ],
    ids=["embedded", "servers that do not exist"],
)
def test_legacy_mode_opens_no_connection(
    project_environment: dict[str, str], servers: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**project_environment, **servers},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "no connection"), done.stderr[-3_000:]
    assert not list(tmp_path.rglob("*.sqlite3*"))
