"""The relay race: conversations whose handler of message k sends message k+1 to the other agent."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from bench.ledger import note, records

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


def send_race(send: Callable[[int, int, int], None]) -> None:
    """Send a race when standard input says so, print when it began, and stay until standard input ends.

    The command line says "race", the number of the first conversation, how many there are, and the legs of each.

    Args:
        send: called with these three numbers.
    """
    first, conversations, legs = map(int, sys.argv[2:5])
    wait_for_go()
    started = time.monotonic_ns()
    send(first, conversations, legs)
    report({"started": started, "sent": time.monotonic_ns()})


def wait_for_go() -> None:
    """Say that everything is prepared, and wait for a line."""
    print("ready", flush=True)
    sys.stdin.readline()


def report(figures: dict[str, Any]) -> None:
    """Print what was measured, and stay until standard input ends."""
    print(json.dumps(figures), flush=True)
    sys.stdin.read()


def wait_for_handled(count: int, timeout: float = 60.0) -> None:
    """Wait until the ledger has a number of records.

    Raises:
        TimeoutError: it has not, in time.
    """
    deadline = time.monotonic() + timeout
    while records() < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{records():,} of {count:,} messages were handled within {timeout:g} s")
        time.sleep(0.005)
