"""The relay race: conversations whose handler of message k sends message k+1 to the other agent."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from bench.ledger import note

TEXT = "hello " * 30


def first_leg(conversation: int, legs: int) -> dict[str, Any]:
    """The body of a conversation's first message."""
    return {"conversation": conversation, "leg": 1, "legs": legs, "text": TEXT}


def handle_leg(body: dict[str, Any]) -> dict[str, Any] | None:
    """What every system's handler does: note the call, and say what is to be sent next, if anything."""
    leg = body["leg"]
    note(body["conversation"], leg)
    if leg >= body["legs"]:
        return None
    return {**body, "leg": leg + 1}


def agent_of(leg: int) -> str:
    """Who handles a leg."""
    return "ping" if leg % 2 else "pong"


def send_from_command_line(send: Callable[[int, int, int], None]) -> None:
    """Send a race as the command line says (first conversation, how many, legs of each), and print when it began.

    Args:
        send: called with (first conversation, how many, legs).
    """
    first, conversations, legs = map(int, sys.argv[1:4])
    started = time.monotonic_ns()
    send(first, conversations, legs)
    print(json.dumps({"started": started, "sent": time.monotonic_ns()}), flush=True)
