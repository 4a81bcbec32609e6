"""What a failure leads to: RETRY with a delay, or DEAD."""

from __future__ import annotations

import math
import random
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from messaging.core.describing import describe_error, name_of
from messaging.core.errors import (
    EnvelopeError,
    NotAuthorized,
    SchemaViolation,
    TerminalError,
    TransientError,
    UnknownAgent,
    UnreadableData,
    WorkflowClosed,
    WorkflowLimit,
)
from messaging.core.outcome import Outcome
from messaging.directory.retry_policies import retry_policy
from messaging.models import POLLED_STATES, DeadReason, Delivery
from messaging.outcomes.applying import apply
from messaging.outcomes.decision import Applied, Decision, Failure
from messaging.outcomes.lost_locks import decide_lost_lock

TERMINAL = (TerminalError, EnvelopeError, NotAuthorized, SchemaViolation, WorkflowClosed, WorkflowLimit)
MAX_RETRY_AFTER = 7 * 86_400.0
"""Seconds: a handler that asks for a longer wait than a week gets a week."""

_jitter = random.SystemRandom()


def decide(
    delivery_id: UUID, agent: str, attempts: int, error: BaseException, now: datetime, *, lease: UUID | None = None
) -> Decision:
    """Say what becomes of a delivery whose handling failed. Cannot fail itself, whatever the error is.

    Args:
        delivery_id: of the delivery.
        agent: who was to handle it.
        attempts: how many were made, this one included.
        error: what was raised.
        now: the current time.
        lease: the token under which a leased handler ran.
    """
    lost = decide_lost_lock(delivery_id, agent, attempts - 1, error, now, lease=lease)
    if lost is not None:
        return lost
    detail = describe_error(error)
    if isinstance(error, TERMINAL):
        kind = DeadReason.SCHEMA if isinstance(error, UnreadableData) else DeadReason.HANDLER_ERROR
        failure = Failure(kind, name_of(error), detail)
        return Decision(Outcome.DEAD, delivery_id, agent, failure, attempts=attempts, lease=lease)
    policy = retry_policy(agent)
    reason = DeadReason.UNKNOWN_AGENT if isinstance(error, UnknownAgent) else DeadReason.ATTEMPTS_USED_UP
    failure = Failure(reason, name_of(error), detail)
    if policy.exhausted(attempts, 0.0):
        return Decision(Outcome.DEAD, delivery_id, agent, failure, attempts=attempts, lease=lease)
    delay = max(policy.delay(attempts, _jitter), _asked_delay(error))
    return Decision(
        Outcome.RETRY,
        delivery_id,
        agent,
        failure,
        available_at=now + timedelta(seconds=delay),
        attempts=attempts,
        lease=lease,
    )


def _asked_delay(error: BaseException) -> float:
    """The delay that a handler asked for, in seconds; 0.0 where it asked for none, or for nonsense."""
    asked: object = error.retry_after if isinstance(error, TransientError) else None
    if isinstance(asked, bool) or not isinstance(asked, int | float) or math.isnan(asked):
        return 0.0
    return min(max(0.0, asked), MAX_RETRY_AFTER)


def fail(delivery_id: UUID, error: BaseException, *, charged: bool, lease: UUID | None = None) -> Applied:
    """Settle a delivery whose handling failed, in a transaction of its own.

    Args:
        delivery_id: of the delivery.
        error: what was raised.
        charged: whether this attempt was counted before it was made.
        lease: the token that must still hold, for a leased handler.

    Raises:
        django.db.Error: the database failed.
    """
    with transaction.atomic():
        row = Delivery.objects.filter(pk=delivery_id).values_list("state", "attempts", "agent").first()
        if row is None or row[0] not in POLLED_STATES:
            return _nothing()
        _, attempts, agent = row
        now = timezone.now()
        decision = decide(delivery_id, agent, attempts if charged else attempts + 1, error, now, lease=lease)
        return apply([decision], now)


def _nothing() -> Applied:
    applied = Applied()
    applied.counts[Outcome.DUPLICATE] += 1
    return applied
