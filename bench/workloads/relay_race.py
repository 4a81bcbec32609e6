"""The relay race: 200 conversations of 50 messages at once, on every system, interleaved."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from bench.ground import Ground
from bench.progress import say
from bench.systems.base import Race, System, run_once

CONVERSATIONS = 200
LEGS = 50


def run(ground: Ground, systems: Sequence[type[System]], rounds: int) -> dict[str, list[Race]]:
    """Race every system ``rounds`` times, each round one after the other, so that a noisy moment hits all alike.

    Returns:
        The race of each round by the system's name.
    """
    races: dict[str, list[Race]] = {system.name: [] for system in systems}
    for number in range(rounds):
        say(f"relay race, round {number + 1} of {rounds}: {', '.join(races)}")
        for system in systems:
            races[system.name].append(run_once(system(ground, f"r{number}"), CONVERSATIONS, system.legs or LEGS))
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
            "legs": system.legs or LEGS,
            "guarantee": system.guarantee,
            "settings": list(system.settings),
        }
        for system in systems
    ]
    return sorted(found, key=lambda item: -float(str(item["rate"])))
