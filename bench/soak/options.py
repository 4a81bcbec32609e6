"""What a soak is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SoakOptions:
    """A run.

    Args:
        seconds: of faults.
        seed: of everything that is left to chance.
        folder: for files of the run.
        brokers: in the cluster.
        rate: messages a second.
        recovery: seconds that it may take to recover, at most.
        kinds: of faults; empty for all.
    """

    seconds: float
    seed: int
    folder: Path
    brokers: int = 1
    rate: float = 40.0
    recovery: float = 60.0
    kinds: tuple[str, ...] = ()
