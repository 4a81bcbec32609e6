"""Relay races: conversations whose handler of message k sends message k+1 to the other agent, on several systems."""

from __future__ import annotations

from collections.abc import Sequence

from bench.ground import BenchError, BenchServers
from bench.progress import Rounds, fail
from bench.results import Figures
from bench.systems.base import System, run_once
from bench.systems.nexus import NexusSystem

CONVERSATIONS = 200
LEGS = 50


def run(
    ground: BenchServers,
    systems: Sequence[type[System]],
    rounds: Rounds,
    *,
    conversations: int = CONVERSATIONS,
    legs: int | None = None,
) -> Figures:
    """Race every system ``rounds`` times, each round one after the other, so that a noisy moment hits all alike.

    Args:
        ground: where.
        systems: which.
        rounds: how often.
        conversations: how many run at once.
        legs: messages of each; those that each system says for itself when left out.

    Returns:
        The race of each round by the system's name. A peer that fails is left out.

    Raises:
        BenchError: Nexus failed, or lost, doubled or reordered something.
    """
    races: Figures = {system.name: [] for system in systems}
    for number in rounds:
        for system in systems:
            if system.name in races:
                try:
                    race = run_once(system(ground, f"r{number}"), conversations, legs or system.legs or LEGS)
                except BenchError as error:
                    if issubclass(system, NexusSystem):
                        raise
                    fail(f"{system.name} is left out: {error}")
                    del races[system.name]
                else:
                    races[system.name].append(race.figures())
    return races


def settings_of(systems: Sequence[type[System]]) -> str:
    """How the systems are set up, and what they guarantee."""
    return "\n".join(f"  {system.name}: {'; '.join(system.settings)} ({system.guarantee})" for system in systems)
