"""REJECTED: a dead letter without a delivery, for what the log does not know. It keeps the raw bytes.

The same bytes refused for the same reason are one open dead letter, however often they come: a message that is handed
out again after a crash, or a sender that repeats itself, adds to its ``copies``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

from django.db.models import F

from messaging.core.describing import safe_repr, storable
from messaging.gate.passage import Passage
from messaging.models import DeadLetter, DeadLetterStatus
from messaging.outcomes.dead import UNEXPLAINED
from messaging.outcomes.decision import Decision, Failure
from messaging.workflows.telling import DeadLetterNotice, tell_dead

MAX_HEADER = 4_000
MAX_HEADERS = 100
MAX_DEPTH = 8


def apply(group: Sequence[Decision], now: datetime) -> list[Decision]:
    for decision in group:
        if decision.passage is not None:
            _store(decision.passage, decision.failure or UNEXPLAINED)
    return []


def _store(passage: Passage, failure: Failure) -> None:
    headers = {} if passage.received is None else _bounded(passage.received.headers)
    envelope = getattr(passage, "envelope", None)
    fingerprint = sha256(f"{failure.reason} {passage.known_id} ".encode() + passage.body).hexdigest()
    same = DeadLetter.objects.filter(fingerprint=fingerprint, status=DeadLetterStatus.OPEN)
    if same.update(copies=F("copies") + 1):
        return
    letter = DeadLetter(
        agent="" if envelope is None else envelope.subject,
        message_type="" if envelope is None else envelope.type,
        reason=failure.reason,
        error=failure.error,
        detail=failure.detail,
        body=passage.body,
        headers=headers,
        fingerprint=fingerprint,
    )
    # Another worker may store the same at this moment.
    DeadLetter.objects.bulk_create([letter], ignore_conflicts=True)
    tell_dead(
        DeadLetterNotice(
            dead_letter=DeadLetter.objects.filter(fingerprint=fingerprint).values_list("pk", flat=True).last(),
            workflow_id=None,
            message_id=None,
            delivery_id=None,
            agent=letter.agent,
            message_type=letter.message_type,
            attempts=None,
            reason=str(failure.reason),
            error=failure.error,
            detail=failure.detail,
        )
    )


def _plain(value: Any, depth: int = 0) -> Any:
    """A header's value as JSON that every database can store."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth < MAX_DEPTH and isinstance(value, Mapping):
        return {storable(str(key)): _plain(item, depth + 1) for key, item in value.items()}
    if depth < MAX_DEPTH and isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    return storable(value) if isinstance(value, str) else safe_repr(value)


def _bounded(headers: Mapping[str, Any]) -> dict[str, Any]:
    plain = {storable(str(key))[:200]: _plain(value) for key, value in list(headers.items())[:MAX_HEADERS]}
    return {key: value if len(str(value)) <= MAX_HEADER else str(value)[:MAX_HEADER] for key, value in plain.items()}
