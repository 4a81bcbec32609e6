"""The faults of a soak. Each does its harm, holds it for a moment, undoes it, and says how often it really hit.

A fault that hit nothing (no connection to cut, nothing stalled) returns 0 and is not counted.
"""

from bench.soak.faults import broker, checks, copies, database, network, participants, processes, restoring
from bench.soak.faults.broker import SINGLE_NODE_ONLY
from bench.soak.faults.registry import FAULTS

__all__ = [
    "FAULTS",
    "SINGLE_NODE_ONLY",
    "broker",
    "checks",
    "copies",
    "database",
    "network",
    "participants",
    "processes",
    "restoring",
]
