"""The ordering rule: what a delivery's position means beside its mailbox's counter."""

from __future__ import annotations

from enum import Enum


class Place(Enum):
    NEXT = "next"  # its predecessor is done: handle it, the counter advances
    EARLY = "early"  # a position gap: hold it
    LATE = "late"  # its place was given up (skipped) and it is back by a replay: handle it, the counter stays


def turn_of(position: int, processed: int) -> Place:
    """Say whether it is the turn of a delivery that is not settled yet.

    Args:
        position: the delivery's place in its mailbox: 1, 2, 3, …
        processed: the position up to which everything in the mailbox is done.
    """
    if position == processed + 1:
        return Place.NEXT
    return Place.EARLY if position > processed else Place.LATE
