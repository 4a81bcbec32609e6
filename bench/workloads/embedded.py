"""Embedded: the relay race on SQLite and the embedded broker."""

from __future__ import annotations

from bench.ground import BenchServers
from bench.progress import Rounds, say
from bench.results import Figures
from bench.systems.base import run_once
from bench.systems.nexus import EmbeddedNexus

CONVERSATIONS = 50
LEGS = 40
WORKER_COUNTS = (1, 2)


def run(ground: BenchServers, rounds: Rounds) -> Figures:
    """Race with one and two worker processes; SQLite has one writer at a time."""
    races: Figures = {}
    for number in rounds:
        for count in WORKER_COUNTS:
            say(f"embedded with {count} worker processes")
            system = EmbeddedNexus(ground, f"e{count}_{number}", processes=count)
            races.setdefault(f"{count} worker processes", []).append(run_once(system, CONVERSATIONS, LEGS).figures())
    return races
