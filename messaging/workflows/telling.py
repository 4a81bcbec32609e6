"""Telling programs and people of dead letters and parked workflows: signals, and alerts that the relay sends.

    from messaging import dead_lettered, workflow_parked

    @receiver(dead_lettered)
    def tell(sender, notice, **_): ...

Both are sent after the commit. Receivers must be quick: they run in the worker's loop. What they raise is logged.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from uuid import UUID

from django.db import transaction
from django.dispatch import Signal
from django.utils import timezone

from messaging.conf import get_settings
from messaging.models import Alert

logger = logging.getLogger("nexus.outcomes")

dead_lettered = Signal()
"""``notice`` is a ``DeadLetterNotice``."""

workflow_parked = Signal()
"""``notice`` is a ``ParkedNotice``."""

MAX_WAITING = 10_000
"""Alerts that wait to be sent at most; what comes then is logged only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterNotice:
    """A message that nobody handles without an operator's decision.

    Args:
        dead_letter: its id.
        workflow_id, message_id, delivery_id: None for a message that the log does not know.
        agent, message_type: empty where nobody knows.
        attempts: that were made; None where none was counted.
        reason: one of ``DeadReason``.
        error: class of the error.
        detail: its message and where it was raised.
    """

    dead_letter: int | None
    workflow_id: UUID | None
    message_id: UUID | None
    delivery_id: UUID | None
    agent: str
    message_type: str
    attempts: int | None
    reason: str
    error: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedNotice:
    """A workflow that waits for an operator."""

    workflow_id: UUID
    name: str
    reason: str


def tell_dead(notice: DeadLetterNotice) -> None:
    """Tell of a dead letter once the transaction that is open is committed."""
    subject = f"dead letter: {notice.message_type or 'a message'} to {notice.agent or 'an unknown agent'}"
    _tell(dead_lettered, notice, f"{subject} ({notice.reason})")


def tell_parked(notice: ParkedNotice) -> None:
    """Tell of a parked workflow once the transaction that is open is committed."""
    _tell(workflow_parked, notice, f"workflow parked: {notice.name}")


def _tell(signal: Signal, notice: DeadLetterNotice | ParkedNotice, subject: str) -> None:
    settings = get_settings()
    if (settings.alert_mail or settings.alert_webhook) and Alert.objects.count() < MAX_WAITING:
        content = json.dumps({"kind": subject.partition(":")[0], **asdict(notice)}, default=str)
        Alert.objects.create(subject=subject[:300], content=content, due_at=timezone.now())
    transaction.on_commit(lambda: _send(signal, notice), robust=True)


def _send(signal: Signal, notice: DeadLetterNotice | ParkedNotice) -> None:
    if isinstance(notice, ParkedNotice):
        logger.error(
            "Workflow %s (%s) is parked: %s",
            notice.workflow_id,
            notice.name,
            notice.reason,
            extra={"nexus": {"workflow": str(notice.workflow_id), "outcome": "parked"}},
        )
    for receiver, error in signal.send_robust(sender=type(notice), notice=notice):
        if isinstance(error, Exception):
            logger.error("A receiver of %s failed: %r", type(notice).__name__, receiver, exc_info=error)
