"""Latency under open-loop load, from the time a message was due to its handler's first line."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from bench.cpu import Meter
from bench.ground import BenchError, BenchServers
from bench.progress import Rounds, say
from bench.results import Figures
from bench.systems.base import System
from bench.systems.celery import PlainCelery
from bench.systems.nexus import NexusSystem
from messaging.testing.servers.waiting import WaitTimeout, wait_until

RATES = {10: 15.0, 100: 10.0, 500: 6.0}
"""Messages per second → for how many seconds."""

CATCH_UP = 90.0


def run(ground: BenchServers, rounds: Rounds) -> Figures:
    """Measure every rate on both systems, which take turns."""
    found: Figures = {}
    for number in rounds:
        for kind in (NexusSystem, PlainCelery):
            system = kind(ground, f"l{number}")
            try:
                system.start()
                system.warm_up()
                for rate, seconds in RATES.items():
                    measured = _measure(system, rate, seconds)
                    found.setdefault(f"{system.name} at {rate}/s", []).append(measured)
                    shown = ", ".join(f"{name} {value:,.1f}" for name, value in measured.items())
                    say(f"latency of {system.name} at {rate:,}/s: {shown}")
            finally:
                system.stop()
    return found


def _measure(system: System, rate: int, seconds: float) -> dict[str, float]:
    total = int(rate * seconds)
    system.ledger.clear()
    with system.client("load", rate, seconds) as client:
        meter, began = Meter(system.parts(client)), time.monotonic()
        due = int(client.go(seconds + CATCH_UP)["began"])
        try:
            wait_until(lambda: len(system.ledger) >= total, CATCH_UP, "every message to be handled", interval=0.05)
        except WaitTimeout as error:
            raise BenchError(f"{system.name} at {rate}/s: {error}; {system.tail()}") from error
        used = meter.read(time.monotonic() - began)
    calls = system.ledger.calls()
    wrong = system.check()
    if len(calls) != total or len({call.conversation for call in calls}) != total or wrong:
        raise BenchError(f"{system.name} at {rate}/s: {len(calls):,} of {total:,} calls; {', '.join(wrong)}")
    taken = [(call.conversation, (call.time - due) / 1e6 - call.conversation * 1e3 / rate) for call in calls]
    ordered = sorted(latency for _, latency in taken)
    last = [latency for number, latency in taken if number >= total * 0.9]
    return {
        "p50 ms": _percentile(ordered, 50),
        "p99 ms": _percentile(ordered, 99),
        "behind s": statistics.median(last) / 1e3,
        **used.figures(total),
    }


def _percentile(ordered: Sequence[float], percent: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
