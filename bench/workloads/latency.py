"""Latency under open-loop load, from the time a message was due to its handler's first line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.ground import BenchError, BenchServers
from bench.progress import say
from bench.systems.base import System
from bench.systems.celery import PlainCelery
from bench.systems.nexus import NexusSystem
from messaging.testing.servers.waiting import WaitTimeout, wait_until

RATES = {10: 30.0, 100: 20.0, 500: 12.0, 1_000: 12.0}
"""Messages per second → for how many seconds."""

CATCH_UP = 120.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Of one round, in milliseconds. With few messages the high percentiles are the slowest of them."""

    system: str
    rate: int
    messages: int
    p50: float
    p99: float
    p999: float


def run(ground: BenchServers, rounds: int) -> list[Latency]:
    """Measure every rate on both systems, which take turns."""
    found = []
    for number in range(rounds):
        for rate, seconds in RATES.items():
            for kind in (NexusSystem, PlainCelery):
                measured = _measure(kind(ground, f"l{number}_{rate}"), rate, seconds)
                say(
                    f"latency of {measured.system} at {rate:,}/s, round {number + 1} of {rounds}: "
                    f"p50 {measured.p50:.1f}, p99 {measured.p99:.1f}, p99.9 {measured.p999:.1f} ms"
                )
                found.append(measured)
    return found


def _measure(system: System, rate: int, seconds: float) -> Latency:
    total = int(rate * seconds)
    try:
        system.start()
        system.warm_up()
        system.ledger.clear()
        with system.client("load", rate, seconds) as client:
            began = int(client.go(seconds + CATCH_UP)["began"])
            try:
                wait_until(lambda: len(system.ledger) >= total, CATCH_UP, "every message to be handled", interval=0.2)
            except WaitTimeout as error:
                raise BenchError(f"{system.name} at {rate}/s: {error}; {system.tail()}") from error
        calls = system.ledger.calls()
        found = system.check()
        if len(calls) != total or found:
            raise BenchError(f"{system.name} at {rate}/s: {len(calls):,} of {total:,} calls; {', '.join(found)}")
    finally:
        system.stop()
    taken = sorted((call.time - began) / 1e6 - call.conversation * 1e3 / rate for call in calls)
    return Latency(system.name, rate, total, _percentile(taken, 50), _percentile(taken, 99), _percentile(taken, 99.9))


def _percentile(ordered: Sequence[float], percent: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
