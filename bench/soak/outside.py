"""The program outside: no Django, the HTTP API alone. ``python -m bench.soak.outside URL TOKEN``; ends on SIGTERM."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import httpx

from bench.paths import ROOT
from bench.soak.names import TYPE

sys.path.insert(0, str(ROOT / "clients" / "python"))

from nexus_agent import Agent, ApiError, Context

VISIBILITY = 3.0
FAILED = (ApiError, httpx.HTTPError)


def handle(message: dict[str, Any], context: Context) -> None:
    """Take a moment, and pass the message on."""
    threading.Event().wait(0.02)
    context.send("collect", TYPE, message["data"])


def main(url: str, token: str) -> None:
    """Handle messages until SIGTERM, whatever fails."""
    with Agent(url, token, "outside", visibility=VISIBILITY) as agent:
        while True:
            try:
                agent.register(description="The soak's program outside.", max_attempts=50)
                break
            except FAILED as error:
                print(f"not registered: {error}", flush=True)
                time.sleep(0.5)
        print("ready", flush=True)
        agent.run(handle, concurrency=2, wait=2)


if __name__ == "__main__":
    main(*sys.argv[1:])
