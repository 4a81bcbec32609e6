"""The relay race: 200 conversations of 50 messages at once, on every system, interleaved."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from bench.ground import BenchError, BenchServers
from bench.progress import fail, say
from bench.systems.base import Race, System, run_once
from bench.systems.nexus import NexusSystem

CONVERSATIONS = 200
LEGS = 50


def run(
    ground: BenchServers, systems: Sequence[type[System]], rounds: int, *, quick: bool = False
) -> dict[str, list[Race]]:
    """Race every system ``rounds`` times, each round one after the other, so that a noisy moment hits all alike.

    Returns:
        The race of each round by the system's name. A peer that fails is left out.

    Raises:
        BenchError: Nexus failed, or lost, doubled or reordered something.
    """
    races: dict[str, list[Race]] = {system.name: [] for system in systems}
    for number in range(rounds):
        say(f"relay race, round {number + 1} of {rounds}: {', '.join(races)}")
        for system in systems:
            if system.name in races:
                try:
                    legs = (system.quick_legs if quick else None) or system.legs or LEGS
                    race = run_once(system(ground, f"r{number}"), CONVERSATIONS, legs)
                except BenchError as error:
                    if issubclass(system, NexusSystem):
                        raise
                    fail(f"{system.name} is left out: {error}")
                    del races[system.name]
                else:
                    races[system.name].append(race)
    return races


def rates(races: Sequence[Race]) -> list[float]:
    """Messages per second of each round."""
    return [race.rate for race in races]


def as_json(races: dict[str, list[Race]], systems: Sequence[type[System]]) -> list[dict[str, Any]]:
    """One object a system, the fastest first."""
    found = [
        {
            "system": system.name,
            "rate": round(statistics.median(rates(races[system.name])), 1),
            "rounds": races[system.name],
            "conversations": CONVERSATIONS,
            "capacity": round(statistics.median(race.capacity for race in races[system.name]), 1),
            "guarantee": system.guarantee,
            "settings": list(system.settings),
        }
        for system in systems
    ]
    return sorted(found, key=lambda item: -float(str(item["rate"])))
