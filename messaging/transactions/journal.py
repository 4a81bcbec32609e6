"""The journal's chain: each entry's hash covers the one before it, for each workflow apart.

A global chain would make every transaction wait for every other. A cut tail shows because the saga's row knows how many
entries there are; whoever can change both is found out with an export that is kept elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from messaging.transactions.state import Line

MAX_DETAIL = 10_000
FIRST = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalLine:
    """One entry; see ``JournalEntry`` for its fields."""

    workflow_id: UUID
    number: int
    at: datetime
    event: str
    step: str
    before: str
    after: str
    status: str
    actor: str
    cause: UUID | None
    detail: str
    previous: str
    hash: str = ""

    def digest(self) -> str:
        """The hash that it must have."""
        fields = {**self.data(), "hash": ""}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    def data(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            **asdict(self),
            "workflow_id": str(self.workflow_id),
            "at": self.at.astimezone(UTC).isoformat(timespec="microseconds"),
            "cause": None if self.cause is None else str(self.cause),
        }


def link(
    lines: Iterable[Line], *, workflow_id: UUID, count: int, head: str, at: datetime, actor: str, cause: UUID | None
) -> list[JournalLine]:
    """Make entries of lines, each bound to the one before.

    Args:
        lines: what happened.
        workflow_id: whose journal it is.
        count, head: how many entries there are, and the hash of the last.
        at, actor, cause: when, through whom, and by which message.
    """
    linked: list[JournalLine] = []
    for number, line in enumerate(lines, count + 1):
        entry = JournalLine(
            workflow_id=workflow_id,
            number=number,
            at=at,
            event=line.event,
            step=line.step,
            before=line.before,
            after=line.after,
            status=line.status,
            actor=actor,
            cause=cause,
            detail=json.dumps(line.detail, sort_keys=True)[:MAX_DETAIL],
            previous=head or FIRST,
        )
        head = entry.digest()
        linked.append(replace(entry, hash=head))
    return linked


def problems(entries: Sequence[JournalLine], *, count: int, head: str, status: str) -> list[str]:
    """What is wrong with a journal; empty where nothing is.

    Args:
        entries: in the order of their numbers.
        count, head, status: what the saga's row says.
    """
    found: list[str] = []
    previous, expected = FIRST, 1
    for entry in entries:
        if entry.number != expected:
            found.append(f"entry {expected} is missing")
        elif entry.previous != previous:
            found.append(f"entry {entry.number} does not follow the one before it")
        if entry.digest() != entry.hash:
            found.append(f"entry {entry.number} was altered")
        previous, expected = entry.hash, entry.number + 1
    if expected - 1 != count:
        found.append(f"there are entries up to {expected - 1}; the saga knows {count}")
    elif (previous if entries else "") != head:
        found.append("the last entry is not the one that the saga knows")
    elif entries and entries[-1].status != status:
        found.append(f"the saga is {status}; by its journal it is {entries[-1].status}")
    return found
