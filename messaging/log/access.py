"""Statements on the access policy that a batch runs: which policy holds, and counting the uses of a grant."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

from messaging.log import rows

_LOCK = 0x6E78_6163_6365_7373  # "nxaccess"; advisory locks share one set of numbers in a database
_EPOCH = "SELECT number, token FROM nexus_access_epoch WHERE id = 1"
HOLD_EPOCH = (f"SELECT pg_advisory_xact_lock_shared({_LOCK})", _EPOCH)
"""Two statements in one message, each with its own snapshot: as one, the epoch would be read in a snapshot that was
taken before the wait for the lock."""


class Epoch(NamedTuple):
    """Which policy holds.

    Args:
        number: of the change that made it; 0 before the first.
        token: of that change alone. A number that was rolled back is given again, a token never is.
    """

    number: int
    token: UUID


NO_POLICY = Epoch(0, UUID(int=0))


def read_epoch() -> Epoch:
    """Which policy holds."""
    return epoch_of(rows.fetch(_EPOCH))


def hold_epoch() -> Epoch:
    """Read which policy holds, and let nobody change the policy until this transaction ends; one
    round trip.

    Whoever changes the policy waits for the transactions that hold it, and those that come later wait for the change:
    so nothing commits by the old policy after the change did. Not a row lock, because those let readers overtake a
    waiting writer for ever. On SQLite, whose writers are one after another anyway, this only reads.
    """
    return epoch_of(rows.fetch_each(*HOLD_EPOCH)[-1]) if rows.on_postgres() else read_epoch()


def lock_policy() -> None:
    """Wait for the transactions that hold the epoch, and keep new ones waiting until this one ends."""
    if rows.on_postgres():
        rows.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def take_uses(grant: str, wanted: int) -> int:
    """Use up a grant, as far as it goes; return how many uses were taken.

    Its row stays locked until the transaction ends.

    Args:
        grant: its name.
        wanted: at least 1.
    """
    while wanted:
        taken = rows.execute(
            "UPDATE nexus_access_grant SET uses = uses - %s WHERE name = %s AND uses >= %s", [wanted, grant, wanted]
        )
        if taken:
            return wanted
        left = rows.fetch("SELECT uses FROM nexus_access_grant WHERE name = %s", [grant])
        # Another transaction may take more before the next try; each try asks for less, so they end.
        wanted = min(wanted - 1, left[0][0] or 0) if left else 0
    return 0


def epoch_of(found: list[tuple[Any, ...]]) -> Epoch:
    """The epoch that was read."""
    return Epoch(found[0][0], rows.to_uuid(found[0][1])) if found else NO_POLICY
