"""Fan-out: one message to a group of 100, and 10,000 sends from one Django process, against plain Celery."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from bench.ground import BenchError, BenchServers
from bench.progress import say
from bench.systems.base import System
from bench.systems.celery import PlainCelery
from bench.systems.nexus import NexusSystem

Value = TypeVar("Value")

SENDS = 10_000
GROUPS = 20
MEMBERS = 100
TIMEOUT = 300.0


KINDS: dict[str, tuple[type[System], str]] = {
    "nexus send_many": (NexusSystem, "bulk"),
    "nexus send": (NexusSystem, "single"),
    "celery apply_async": (PlainCelery, "single"),
}


def run(ground: BenchServers, rounds: int) -> dict[str, list[float]]:
    """Measure sending without workers, then groups with workers; the systems take turns.

    Returns:
        Messages per second of each round, by what was done.
    """
    rates: dict[str, list[float]] = {}
    for number in range(rounds):
        say(f"fan-out, round {number + 1} of {rounds}: {SENDS:,} sends, then {GROUPS} messages to a group of {MEMBERS}")
        for name, (kind, mode) in KINDS.items():
            for what, rate in _with(kind(ground, f"s{number}"), partial(_send, mode=mode)).items():
                rates.setdefault(f"{name}, {what}", []).append(rate)
        for kind in (NexusSystem, PlainCelery):
            found = _with(kind(ground, f"g{number}"), _group)
            rates.setdefault(f"{kind.name} to a group of {MEMBERS}", []).append(found)
    for name, values in rates.items():
        say(f"{name}: {statistics.median(values):,.0f}/s")
    return rates


def _with(system: System, measure: Callable[[System], Value]) -> Value:
    try:
        return measure(system)
    finally:
        system.stop()


def _send(system: System, mode: str) -> dict[str, float]:
    system.prepare_only()
    system.ground.settle()
    with system.client(mode, SENDS) as client:
        times = client.go(TIMEOUT)
    return {what: SENDS / (times[what] - times["started"]) * 1e9 for what in ("returned", "confirmed")}


def _group(system: System) -> float:
    """Deliveries per second: 100 divided by the median time from a send to its last delivery."""
    system.start()
    system.warm_up()
    system.ledger.clear()
    with system.client("group", GROUPS) as client:
        started = client.go(TIMEOUT)["started"]
    calls = system.ledger.calls()
    if len(calls) != GROUPS * MEMBERS:
        raise BenchError(f"{system.name}: {len(calls):,} deliveries of {GROUPS * MEMBERS:,} to a group")
    last = {call.conversation: call.time for call in calls}
    taken = [(last[number] - int(began)) / 1e9 for number, began in enumerate(started)]
    return MEMBERS / statistics.median(taken)
