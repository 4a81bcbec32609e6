"""Noticing what handlers do with the bus inside the transaction that handles their messages.

The transaction keeps the rows of the workflows that it locked in memory. A handler that sends through the bus, or
changes a workflow's status, changes them in the database; whoever keeps copies has to know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from uuid import UUID


@dataclass(slots=True)
class Noticed:
    """What happened inside ``noticing``.

    Args:
        sent_in: workflows in which the bus sent.
        status_changed: workflows whose status changed.
    """

    sent_in: set[UUID] = field(default_factory=set)
    status_changed: set[UUID] = field(default_factory=set)


_current: ContextVar[Noticed | None] = ContextVar("noticed", default=None)


@contextmanager
def noticing(noticed: Noticed) -> Iterator[None]:
    """Collect what happens during the block, in this thread or task."""
    token = _current.set(noticed)
    try:
        yield
    finally:
        _current.reset(token)


def note_send(workflow_ids: Iterable[UUID]) -> None:
    """Tell an enclosing ``noticing`` that the bus sent in workflows."""
    noticed = _current.get()
    if noticed is not None:
        noticed.sent_in.update(workflow_ids)


def note_status(workflow_id: UUID) -> None:
    """Tell an enclosing ``noticing`` that a workflow's status changed."""
    noticed = _current.get()
    if noticed is not None:
        noticed.status_changed.add(workflow_id)
