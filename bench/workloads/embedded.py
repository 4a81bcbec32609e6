"""Embedded: the relay race on SQLite and the embedded broker."""

from __future__ import annotations

from bench.ground import BenchServers
from bench.progress import say
from bench.systems.base import run_once
from bench.systems.nexus import EmbeddedNexus

CONVERSATIONS = 50
LEGS = 40
WORKER_COUNTS = (1, 2)


def run(ground: BenchServers, rounds: int) -> dict[int, list[float]]:
    """Race with one and two worker processes; SQLite has one writer at a time."""
    rates: dict[int, list[float]] = {count: [] for count in WORKER_COUNTS}
    for number in range(rounds):
        for count in WORKER_COUNTS:
            say(f"embedded with {count} worker processes, round {number + 1} of {rounds}")
            system = EmbeddedNexus(ground, f"e{count}_{number}", processes=count)
            rates[count].append(run_once(system, CONVERSATIONS, LEGS).rate)
    return rates
