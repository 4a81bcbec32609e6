"""Fan-out: sends from one Django process without workers, and one message to a group of 100, against plain Celery."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from bench.cpu import Meter
from bench.ground import BenchError, BenchServers
from bench.progress import Rounds, say
from bench.results import Figures
from bench.systems.base import System
from bench.systems.celery import PlainCelery
from bench.systems.nexus import NexusSystem

SENDS = 2_000
SENDS_IN_BULK = 10_000
GROUPS = 20
MEMBERS = 100
TIMEOUT = 180.0

SENDING: dict[str, tuple[type[System], str, int]] = {
    "nexus send_many": (NexusSystem, "bulk", SENDS_IN_BULK),
    "nexus send": (NexusSystem, "single", SENDS),
    "celery apply_async": (PlainCelery, "single", SENDS),
}
GROUPED: dict[str, type[System]] = {"nexus, group of 100": NexusSystem, "celery, 100 tasks": PlainCelery}


def run(ground: BenchServers, rounds: Rounds) -> Figures:
    """Measure sending, counted until RabbitMQ confirmed the last message, then groups."""
    found: Figures = {}
    for number in rounds:
        for name, (kind, mode, sends) in SENDING.items():
            found.setdefault(name, []).append(_stopped(kind(ground, f"s{number}"), lambda s: _send(s, mode, sends)))  # noqa: B023
        for name, kind in GROUPED.items():
            found.setdefault(name, []).append(_stopped(kind(ground, f"g{number}"), _group))
    return found


def _stopped(system: System, measure: Callable[[System], dict[str, float]]) -> dict[str, float]:
    try:
        figures = measure(system)
    finally:
        system.stop()
    say(f"{system.name}: {', '.join(f'{name} {value:,.0f}' for name, value in figures.items())}")
    return figures


def _send(system: System, mode: str, sends: int) -> dict[str, float]:
    system.prepare_only()
    system.ground.settle()
    with system.client(mode, sends) as client:
        meter, began = Meter(system.parts(client)), time.monotonic()
        times = client.go(TIMEOUT)
        used = meter.read(time.monotonic() - began)
    rates = {f"{what}/s": sends / (times[what] - times["started"]) * 1e9 for what in ("returned", "confirmed")}
    return {**rates, **used.figures(sends)}


def _group(system: System) -> dict[str, float]:
    """Deliveries per second: 100 divided by the median time from a send to its last delivery."""
    system.start()
    system.warm_up()
    system.ledger.clear()
    with system.client("group", GROUPS) as client:
        meter, began = Meter(system.parts(client)), time.monotonic()
        started = client.go(TIMEOUT)["started"]
        used = meter.read(time.monotonic() - began)
    calls = system.ledger.calls()
    wrong = system.check()
    if len(calls) != GROUPS * MEMBERS or wrong:
        raise BenchError(
            f"{system.name}: {len(calls):,} deliveries of {GROUPS * MEMBERS:,} to a group; {', '.join(wrong)}"
        )
    last = {call.conversation: call.time for call in calls}
    taken = [(last[number] - int(began)) / 1e9 for number, began in enumerate(started)]
    return {"deliveries/s": MEMBERS / statistics.median(taken), **used.figures(GROUPS * MEMBERS)}
