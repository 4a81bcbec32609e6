"""The kinds of faults by name."""

from __future__ import annotations

import threading
from collections.abc import Callable
from random import Random

from bench.soak.site import Site

Fault = Callable[[Site, Random], int]

FAULTS: dict[str, Fault] = {}
"""All kinds by name."""


def fault(name: str) -> Callable[[Fault], Fault]:
    """Register a kind of fault."""

    def register(fault: Fault) -> Fault:
        FAULTS[name] = fault
        return fault

    return register


def hold(seconds: float) -> None:
    """Let the harm last."""
    threading.Event().wait(seconds)
