"""A handler that lost a lock, or a deadlock, to somebody who is no message: it is tried again soon, and at first no
attempt is counted.

How often is a column of the delivery, so that killed workers and other processes do not begin anew.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from uuid import UUID

from messaging.core.backoff import RetryPolicy
from messaging.core.describing import describe_error, name_of
from messaging.core.errors import TerminalError, TransientError
from messaging.core.outcome import Outcome
from messaging.log.lock_failures import is_lock_failure
from messaging.models import DeadReason, Delivery
from messaging.outcomes.decision import Decision, Failure

FREE_LOSSES = 20
"""How many lost locks of a delivery's handler count no attempt. With the pauses between: some three minutes."""

_PAUSES = RetryPolicy(max_attempts=FREE_LOSSES, base=0.2, cap=30.0)
_jitter = random.SystemRandom()


def decide_lost_lock(
    delivery_id: UUID, agent: str, attempts: int, error: BaseException, now: datetime, *, lease: UUID | None = None
) -> Decision | None:
    """What becomes of a delivery whose handler lost a lock; None when it was something else, or once too often.

    Args:
        delivery_id: of the delivery.
        agent: who was to handle it.
        attempts: how many were made without this one: what its count is to be.
        error: what was raised. An error that a handler chose for what becomes of its message counts as that.
        now: the current time.
        lease: the token under which a leased handler ran.
    """
    if isinstance(error, TerminalError | TransientError) or not is_lock_failure(error):
        return None
    losses = Delivery.objects.values_list("lock_losses", flat=True).get(pk=delivery_id)
    if losses >= FREE_LOSSES:
        return None
    return Decision(
        Outcome.RETRY,
        delivery_id,
        agent,
        Failure(DeadReason.ATTEMPTS_USED_UP, name_of(error), describe_error(error)),
        available_at=now + timedelta(seconds=_PAUSES.delay(losses + 1, _jitter)),
        attempts=attempts,
        lock_losses=losses + 1,
        lease=lease,
    )
