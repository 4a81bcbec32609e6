"""Telling people and programs what was decided, once it is committed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from django.db import transaction
from django.dispatch import Signal

from messaging.core.outcome import Outcome
from messaging.outcomes.decision import Decision

logger = logging.getLogger("nexus.outcomes")

Listener = Callable[[Sequence[Decision]], None]

dead_lettered = Signal()
"""Sent for each dead letter after its commit; ``decision`` is the ``Decision``. Receivers must be quick: they run in
the worker's loop."""

_listeners: list[Listener] = []
_LEVELS = {
    Outcome.DEAD: logging.ERROR,
    Outcome.REJECTED: logging.ERROR,
    Outcome.RETRY: logging.WARNING,
    Outcome.EXPIRED: logging.WARNING,
}


def subscribe(listener: Listener) -> None:
    """Call ``listener`` with decisions of one outcome after every commit; what it raises is logged."""
    _listeners.append(listener)


def announce(group: Sequence[Decision]) -> None:
    """Announce decisions of one outcome after the commit of the transaction that is open."""
    if group and (_listeners or group[0].outcome in _LEVELS):
        transaction.on_commit(lambda: _announce(group), robust=True)


def _announce(group: Sequence[Decision]) -> None:
    level = _LEVELS.get(group[0].outcome)
    if level is not None:
        for decision in group:
            _log(level, decision)
    for listener in list(_listeners):
        listener(group)
    if group[0].outcome in (Outcome.DEAD, Outcome.REJECTED):
        for decision in group:
            for _, error in dead_lettered.send_robust(sender=None, decision=decision):
                if isinstance(error, Exception):
                    logger.error("A receiver of dead_lettered failed.", exc_info=error)


def _log(level: int, decision: Decision) -> None:
    failure = decision.failure
    if failure is None and decision.outcome is Outcome.RETRY:
        return  # postponed, not failed
    logger.log(
        level,
        "Delivery %s to %s: %s%s%s",
        decision.delivery_id,
        decision.agent or "an unknown agent",
        decision.outcome,
        "" if decision.attempts is None else f" after attempt {decision.attempts}",
        "" if failure is None else f" ({failure.reason}): {failure.detail}",
    )
