"""Settling what the gate stopped.

The log decides what a stop means. A delivery that it knows by the same bytes stops as the gate said: DEAD, with its
dead letter and its workflow parked, or RETRY. Anything else is REJECTED: a forged or damaged copy proves nothing about
the delivery whose id it bears, which the relay publishes again from the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from messaging.core.outcome import Outcome
from messaging.gate.passage import Passage, Stop
from messaging.models import POLLED_STATES, Delivery, Message
from messaging.outcomes import Applied, Decision, Failure, apply
from messaging.outcomes.decision import NO_DELIVERY

RETRY_AFTER = timedelta(seconds=5)
"""When a delivery is tried again that a check could not decide about."""


class _Stopped(NamedTuple):
    passage: Passage
    stop: Stop


def settle_stopped(passages: Sequence[Passage]) -> Applied:
    """Make the outcome of stopped passages durable, each in a transaction of its own.

    Raises:
        django.db.Error: the database failed; call again, what was settled shows up as duplicates then.
    """
    applied = Applied()
    for passage in passages:
        if passage.stop is not None:
            applied.add(_settle(_Stopped(passage, passage.stop)))
    return applied


def decide_logged(passage: Passage, stop: Stop, agent: str) -> Decision:
    """The decision about a stopped passage that was read from the log, or is known by the same bytes."""
    failure = Failure(stop.reason, "Refused", stop.detail)
    if stop.outcome is Outcome.RETRY:
        return Decision(Outcome.RETRY, passage.delivery_id, agent, failure, available_at=timezone.now() + RETRY_AFTER)
    return Decision(stop.outcome, passage.delivery_id, agent, failure)


def reject(passage: Passage, stop: Stop) -> Decision:
    """The decision about a message that the log does not know."""
    agent = passage.envelope.subject if hasattr(passage, "envelope") else ""
    failure = Failure(stop.reason, "Refused", stop.detail)
    return Decision(Outcome.REJECTED, passage.known_id or NO_DELIVERY, agent, failure, passage=passage)


def decide_stopped(passage: Passage, stop: Stop) -> Decision:
    """The decision about a stopped passage: the log says whether it knows it by the same bytes."""
    known = None if passage.known_id is None else _same_in_log(passage.known_id, passage)
    return reject(passage, stop) if known is None else decide_logged(passage, stop, known)


def _settle(stopped: _Stopped) -> Applied:
    decision = decide_stopped(*stopped)
    if decision.outcome in (Outcome.DEAD, Outcome.QUARANTINED) and _is_early(decision.delivery_id):
        # Dead before its turn, it would be a gap that nothing fills: it waits, and is checked again then.
        decision = Decision(Outcome.HELD, decision.delivery_id, decision.agent)
    with transaction.atomic():
        return apply([decision], timezone.now())


def _is_early(delivery_id: UUID) -> bool:
    waiting = Delivery.objects.filter(pk=delivery_id, state__in=POLLED_STATES)
    return waiting.filter(position__gt=F("mailbox__processed") + 1).exists()


def _same_in_log(delivery_id: UUID, passage: Passage) -> str | None:
    """The agent of a delivery that the log knows by the same bytes and signature; otherwise None."""
    delivery = Delivery.objects.filter(pk=delivery_id).values_list("message_id", "agent").first()
    if delivery is None:
        return None
    stored = Message.objects.filter(pk=delivery[0]).values_list("envelope", "signature").first()
    return (
        delivery[1]
        if stored is not None and (bytes(stored[0]), stored[1]) == (passage.body, passage.signature)
        else None
    )
