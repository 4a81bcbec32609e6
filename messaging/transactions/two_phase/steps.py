"""The steps of the protocol between which a process or a database may die. Tests listen here, and kill."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class ProtocolStep(StrEnum):
    BEGINNING = "beginning"  # the coordinator, before the calls to prepare are stored
    PREPARE_RECEIVED = "prepare_received"  # a participant, before it does anything
    WORKED = "worked"  # its work is done, nothing is prepared
    NOTED = "noted"  # the number of its transaction is stored, nothing is prepared
    PREPARED = "prepared"  # prepared, the vote is not stored
    VOTE_RECEIVED = "vote_received"  # the coordinator, before it stores the vote
    DECIDING = "deciding"  # the decision is written, not committed
    DECIDED = "decided"  # the decision is committed, nobody was told yet
    DECISION_RECEIVED = "decision_received"  # a participant, before it acts on it
    ENDED = "ended"  # COMMIT or ROLLBACK PREPARED is done, and not reported
    CLOSING = "closing"  # every participant ended; that is written, not committed
    RECOVERING = "recovering"  # the relay, before it brings a run to its end
    RECOVERED = "recovered"  # the relay ended a participant's transaction, and has not noted it


_listeners: list[Callable[[ProtocolStep], None]] = []


def listen(listener: Callable[[ProtocolStep], None]) -> None:
    """Have a function called at every step, in the process and thread that reached it."""
    _listeners.append(listener)


def ignore(listener: Callable[[ProtocolStep], None]) -> None:
    """Call it no more."""
    _listeners.remove(listener)


def reached(step: ProtocolStep) -> None:
    """Tell the listeners."""
    for listener in _listeners:
        listener(step)
