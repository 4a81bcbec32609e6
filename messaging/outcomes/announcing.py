"""Telling people and programs what was decided, once it is committed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from django.db import transaction

from messaging.core.ids import message_id_of
from messaging.core.outcome import Outcome
from messaging.models import Delivery
from messaging.outcomes.decision import NO_DELIVERY, Decision

logger = logging.getLogger("nexus.outcomes")

Listener = Callable[[Sequence[Decision]], None]

MAX_LOGGED = 500

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
    logged = _LEVELS.get(group[0].outcome) is not None if group else False
    if group and (_listeners or logged):
        places = _places(group) if logged else {}
        transaction.on_commit(lambda: _announce(group, places), robust=True)


def _places(group: Sequence[Decision]) -> dict[UUID, tuple[UUID, str, str, int]]:
    """Delivery → its workflow, agent, message type and number, for whoever reads the log."""
    ids = [decision.delivery_id for decision in group if decision.delivery_id != NO_DELIVERY]
    found = Delivery.objects.filter(pk__in=ids[:MAX_LOGGED])
    rows = found.values_list("pk", "workflow_id", "agent", "message__type", "message__sequence")
    return {key: (workflow, agent, type, number) for key, workflow, agent, type, number in rows}


def _announce(group: Sequence[Decision], places: Mapping[UUID, tuple[UUID, str, str, int]]) -> None:
    level = _LEVELS.get(group[0].outcome)
    if level is not None:
        for decision in group:
            _log(level, decision, places.get(decision.delivery_id))
    for listener in list(_listeners):
        try:
            listener(group)
        except Exception:  # a listener is somebody else's code: the others hear all the same
            logger.exception("A listener of outcomes failed: %r", listener)


def _after(decision: Decision) -> str:
    if decision.lock_losses is not None:
        return f" without an attempt counted, after {decision.lock_losses} lost locks"
    return "" if decision.attempts is None else f" after attempt {decision.attempts}"


def _log(level: int, decision: Decision, place: tuple[UUID, str, str, int] | None) -> None:
    failure = decision.failure
    if failure is None and decision.outcome is Outcome.RETRY:
        return  # postponed, not failed
    retried = decision.outcome is Outcome.RETRY
    workflow, agent, type, number = place or (None, decision.agent or "an unknown agent", "", 0)
    message = None if decision.delivery_id == NO_DELIVERY else message_id_of(decision.delivery_id)
    logger.log(
        level,
        "%s to %s, workflow %s, message %s: %s%s%s",
        f"#{number} {type}" if place else "A message",
        agent,
        workflow or "unknown",
        message or "unknown",
        decision.outcome,
        _after(decision),
        "" if failure is None else f" ({failure.error if retried else failure.reason}): {failure.detail}",
        extra={
            "nexus": {
                "summary": f"#{number} {type}: {decision.outcome}" if place else f"A message: {decision.outcome}",
                "outcome": decision.outcome.value,
                "workflow": None if workflow is None else str(workflow),
                "message": None if message is None else str(message),
                "agent": agent,
                "attempt": decision.attempts,
                "reason": None if failure is None else str(failure.reason),
                "error": None if failure is None else failure.error,
            }
        },
    )
