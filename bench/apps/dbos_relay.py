"""The relay race on DBOS: a step for each leg, or messages between two workflows."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

from dbos import DBOS, DBOSClient, DBOSConfig

from bench.apps.relay import agent_of, first_leg, handle_leg, send_race

URL = os.environ["DATABASE_URL"]
MODE = os.environ["BENCH_DBOS"]
PATIENCE = 120.0


async def _leg(body: dict[str, Any]) -> dict[str, Any] | None:
    return handle_leg(body)


leg = DBOS.step(name="leg")(_leg)


async def _conversation(body: dict[str, Any]) -> None:
    """Every leg is a step, which stores its result."""
    following: dict[str, Any] | None = body
    while following is not None:
        following = await leg(following)


async def _agent(name: str, number: int, legs: int) -> None:
    """One of the two workflows of a conversation: receives its legs, sends the next ones to the other."""
    for _ in range((legs + (name == "ping")) // 2):
        body = await DBOS.recv_async(timeout_seconds=PATIENCE)
        following = handle_leg(body)
        if following is not None:
            await DBOS.send_async(f"{number}-{agent_of(following['leg'])}", following)


conversation = DBOS.workflow(name="conversation")(_conversation)
agent = DBOS.workflow(name="agent")(_agent)


def _serve() -> None:
    config: DBOSConfig = {"name": "relay", "system_database_url": URL, "log_level": "WARNING"}
    DBOS(config=config)
    DBOS.launch()
    workflows = int(os.environ["BENCH_WORKFLOWS"])
    DBOS.register_queue("relay", worker_concurrency=workflows, polling_interval_sec=0.1)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    while not stopping.wait(1.0):
        pass
    os._exit(0)


def _send(first: int, conversations: int, legs: int) -> None:
    for number in range(first, first + conversations):
        body = first_leg(number, legs)
        if MODE == "steps":
            client.enqueue({"workflow_name": "conversation", "queue_name": "relay"}, body)
            continue
        for name in ("ping", "pong"):
            client.enqueue(
                {"workflow_name": "agent", "queue_name": "relay", "workflow_id": f"{number}-{name}"}, name, number, legs
            )
        client.send(f"{number}-ping", body)


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        _serve()
    else:
        client = DBOSClient(system_database_url=URL)
        send_race(_send)
