"""The world in which the protocol happens, and what may never be true of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

UNSENT, PENDING, SENT, HELD, LEASED, PROCESSED, DEAD, PRUNED = range(8)
POLLED = (PENDING, SENT, HELD, LEASED)

IDLE = ("idle", -1, 0)


class Row(NamedTuple):
    """A delivery, with its processed-ID row and what really happened."""

    state: int = UNSENT
    token: int = 0
    marked: bool = False
    """Its processed-ID row is there."""
    effects: int = 0
    """How often its handler's effects were committed."""
    skipped: bool = False
    """Its place was given up; a replay comes late."""


class World(NamedTuple):
    """Everything. ``workers`` are (phase, delivery, token); phases: idle, received, admitted, committed, running."""

    rows: tuple[Row, ...]
    processed: int
    parked: bool
    queue: tuple[int, ...]
    """Copies of each delivery that are ready on the broker, in no order."""
    workers: tuple[tuple[str, int, int], ...]
    offered: frozenset[int]
    """In the memory of a publisher; gone when its process dies."""
    confirmed: frozenset[int]
    """Published and confirmed, the row not marked yet."""
    read_gaps: frozenset[int]
    """Only with the planted bug: held rows that the relay has read and not written yet."""
    faults: int
    failures: int
    disorder: bool = False
    denials: int = 0
    denied: bool = False
    """The access policy forbids it."""
    forbidden: bool = False
    """Effects were committed while the policy forbade them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is checked.

    Args:
        messages: how many are sent to the mailbox.
        workers: how many consume.
        faults: losses, duplicates and deaths altogether.
        failures: handlers that raise.
        copies: of a delivery on the broker at most.
        leased: the agent is leased.
        skip: failure policy; park otherwise.
        denials: how often the access policy forbids what is under way; it allows it again later.
        bugs: planted ones, see ``BUGS``.
    """

    messages: int = 2
    workers: int = 2
    faults: int = 2
    failures: int = 1
    copies: int = 2
    leased: bool = False
    skip: bool = False
    denials: int = 0
    bugs: frozenset[str] = frozenset()


BUGS = {
    "settle before the handler": "PROCESSED commits in a transaction of its own, then the handler's effects",
    "effects before the mark": "the handler's effects commit, then processed-ID and state",
    "no order": "a position gap is not noticed",
    "no fencing": "a lease's token is not compared when its result is stored",
    "prune unfinished": "messages are pruned before they are handled",
    "ack before commit, no relay": "a message is acknowledged when it is received, and nothing looks for lost ones",
    "gap replay without lock": "the relay reads held rows, and writes HELD later, whatever they have become",
    "nobody checks": "a delivery's state is not looked at and its processed-ID is pruned while copies are on their way",
    "onward past what waits": "what a handler sends is handled at once, whatever waits in the mailbox before it",
    "policy asked before the transaction": "a batch is authorized, and its effects commit later",
    "policy asked at the start only": "a leased handler is authorized when it starts, not when it is stored",
    "refused before its turn": "a message that is refused gives up its place before those ahead of it are done",
}


def planted(bug: str) -> Rules:
    """A small size in which a bug shows."""
    bugs = frozenset({bug})
    if bug == "refused before its turn":
        return Rules(workers=1, faults=0, copies=1, failures=0, skip=True, denials=1, bugs=bugs)
    if bug == "onward past what waits":  # it takes one that is handled, one that waits, and one that is sent
        return Rules(messages=3, workers=1, faults=0, copies=1, failures=0, bugs=bugs)
    leased = bug in ("no fencing", "policy asked at the start only")
    return Rules(faults=1, copies=1, failures=0, leased=leased, denials=int("policy" in bug), bugs=bugs)


def start(rules: Rules) -> World:
    """The first world: nothing sent."""
    none: frozenset[int] = frozenset()
    return World(
        rows=(Row(),) * rules.messages,
        processed=0,
        parked=False,
        queue=(0,) * rules.messages,
        workers=(IDLE,) * rules.workers,
        offered=none,
        confirmed=none,
        read_gaps=none,
        faults=rules.faults,
        failures=rules.failures,
        denials=rules.denials,
    )


def is_done(world: World) -> bool:
    """Whether everything was handled."""
    return all(row.state in (PROCESSED, PRUNED) and row.effects == 1 for row in world.rows)


def broken(world: World) -> str:
    """What is wrong in a world, or nothing."""
    if world.disorder:
        return "handled out of order"
    if world.forbidden:
        return "handled although the policy forbade it"
    for position, row in enumerate(world.rows, 1):
        if row.effects > 1:
            return f"the effects of {position} were committed twice"
        if row.state in (PROCESSED, PRUNED) and row.effects == 0 and not _in_hand(world, position - 1):
            return f"{position} counts as processed and was not"
    return ""


def _in_hand(world: World, index: int) -> bool:
    return any(phase == "settled" and delivery == index for phase, delivery, _ in world.workers)
