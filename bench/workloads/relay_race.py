"""The relay race: 200 conversations of 50 messages at once, on every system, interleaved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.ground import Ground
from bench.progress import say
from bench.systems.base import System, run_once

CONVERSATIONS = 200
LEGS = 50


def run(ground: Ground, systems: Sequence[type[System]], rounds: int) -> dict[str, list[float]]:
    """Race every system ``rounds`` times, each round one after the other, so that a noisy moment hits all alike.

    Returns:
        Messages per second of each round by the system's name.
    """
    rates: dict[str, list[float]] = {system.name: [] for system in systems}
    for number in range(rounds):
        say(f"relay race, round {number + 1} of {rounds}: {', '.join(rates)}")
        for system in systems:
            rates[system.name].append(run_once(system(ground, f"r{number}"), CONVERSATIONS, system.legs or LEGS))
    return rates


def as_json(rates: dict[str, list[float]], systems: Sequence[type[System]]) -> list[dict[str, Any]]:
    """One object a system, the fastest first."""
    import statistics

    return sorted(
        (
            {
                "system": system.name,
                "rate": round(statistics.median(rates[system.name]), 1),
                "rates": [round(rate, 1) for rate in rates[system.name]],
                "conversations": CONVERSATIONS,
                "legs": system.legs or LEGS,
                "guarantee": system.guarantee,
                "settings": list(system.settings),
            }
            for system in systems
        ),
        key=lambda item: -float(str(item["rate"])),
    )
