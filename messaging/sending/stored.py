"""Telling programs of one process that it stored messages, after the commit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from uuid import UUID

from django.db import transaction

logger = logging.getLogger("nexus.sending")

StoredListener = Callable[[frozenset[UUID]], None]

_listeners: list[StoredListener] = []


def when_stored(listener: StoredListener) -> None:
    """Call ``listener`` with the workflows after every commit in which this process stored messages.

    It runs where messages are sent and handled: it must be quick, and wait for nothing. What it raises is logged.
    """
    if listener not in _listeners:
        _listeners.append(listener)


def tell_stored(workflows: Iterable[UUID]) -> None:
    """Tell the listeners once the transaction that is open is committed."""
    if _listeners:
        told = frozenset(workflows)
        transaction.on_commit(lambda: _tell(told), robust=True)


def _tell(workflows: frozenset[UUID]) -> None:
    for listener in list(_listeners):
        try:
            listener(workflows)
        except Exception:  # a listener is somebody else's code: the message is stored all the same
            logger.exception("A listener of stored messages failed: %r", listener)
