"""A program outside: its own process, without Django, with the client and httpx. Usage: URL TOKEN AGENT [MILLISECONDS].

Its handler counts in its state, replies with the count, and takes so many milliseconds.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "clients" / "python"))

from nexus_agent import Agent, Context


def main(url: str, token: str, name: str, milliseconds: str = "0") -> None:
    """Handle messages until SIGTERM."""
    assert "django" not in sys.modules

    def handle(message: dict[str, Any], context: Context) -> None:
        context.state["count"] = context.state.get("count", 0) + 1
        threading.Event().wait(int(milliseconds) / 1000)
        context.reply({"n": message["data"]["n"], "count": context.state["count"]})

    with Agent(url, token, name, visibility=1.0) as agent:
        agent.register(description="A program of the tests.", max_attempts=10)
        print("ready", flush=True)
        agent.run(handle, concurrency=4, wait=5)
    print("ended in good order", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
