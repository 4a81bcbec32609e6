"""Messages with a delay: kept as rows of their own until they are due, and sent then.

A timer has no number. It gets one when it is due, in the transaction that deletes its row: so it is sent once, however
many relays there are, and nothing that was sent before waits for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction

from messaging import log
from messaging.conf import get_settings
from messaging.core.envelope import build_envelope, parse_envelope
from messaging.core.errors import WorkflowLimit
from messaging.core.ids import uuid7
from messaging.core.messages import Outgoing, SentMessage
from messaging.gate.draft import Draft
from messaging.models import Timer
from messaging.security.encryption.payloads import encrypt_data, open_data
from messaging.security.labels.stored import labels_from

MAX_TIMERS = 10_000
"""Timers that a workflow may have at once."""


def keep(drafts: Sequence[Draft], now: datetime) -> list[SentMessage]:
    """Store timers in the transaction that is open, which holds the locks of their workflows.

    Args:
        drafts: messages with a delay that passed the sending gate.
        now: the present time.

    Raises:
        WorkflowLimit: a workflow has too many of them.
        EnvelopeError: data that is no valid envelope.
    """
    _check_limit([draft.outgoing for draft in drafts])
    receipts, rows = [], []
    for draft in drafts:
        message = draft.outgoing
        identifier, due_at = uuid7(), message.due_at(now)
        rows.append(
            (
                identifier,
                message.workflow_id,
                message.source,
                message.recipient,
                message.type,
                _draft(draft, identifier, now),
                message.deduplication_id,
                message.expires_in,
                due_at,
                now,
            )
        )
        receipts.append(SentMessage(id=identifier, workflow_id=message.workflow_id, sequence=0, due_at=due_at))
    log.insert_timers(rows)
    return receipts


def _check_limit(outgoing: Iterable[Outgoing]) -> None:
    added = Counter(message.workflow_id for message in outgoing)
    for workflow_id, count in log.count_timers(added.keys()).items():
        if count + added[workflow_id] > MAX_TIMERS:
            raise WorkflowLimit(
                f"Workflow {workflow_id} has {count} timers and may have {MAX_TIMERS}. Cancel some, or wait for fewer "
                "things at once."
            )


def _draft(draft: Draft, identifier: UUID, now: datetime) -> bytes:
    """The envelope as it would be now: what is wrong with it is its sender's error, not the relay's in a week."""
    message = draft.outgoing
    body = build_envelope(
        message_id=identifier,
        workflow_id=message.workflow_id,
        source=message.source,
        recipient=message.recipient,
        type=message.type,
        data=message.data,
        sequence=1,
        time=now,
        causation_id=message.causation_id,
        correlation_id=message.correlation_id,
        trace_parent=message.trace_parent,
        labels=str(draft.labels) if draft.labels else None,
        max_bytes=get_settings().max_message_bytes,
    )
    return body if draft.key is None else encrypt_data(body, draft.key)


def first_timers(outgoing: Iterable[Outgoing]) -> dict[tuple[UUID, str, str], SentMessage]:
    """Timers that wait with the deduplication ids of messages, by (workflow, sender, deduplication id)."""
    wanted = list(outgoing)
    found = Timer.objects.filter(
        workflow__in={message.workflow_id for message in wanted},
        deduplication_id__in={message.deduplication_id for message in wanted},
    ).values_list("workflow_id", "source", "deduplication_id", "id", "due_at")
    return {
        (workflow_id, source, str(key)): SentMessage(
            id=identifier, workflow_id=workflow_id, sequence=0, duplicate=True, due_at=due_at
        )
        for workflow_id, source, key, identifier, due_at in found
    }


def as_outgoing(timer: log.TimerRow) -> Outgoing:
    """The message of a timer that is due.

    Raises:
        NotDecrypted, EncryptionKeyError: its data are encrypted and do not open.
    """
    envelope = open_data(parse_envelope(timer.envelope, max_bytes=get_settings().max_message_bytes))
    return Outgoing(
        workflow_id=timer.workflow_id,
        source=envelope.source,
        recipient=envelope.subject,
        type=envelope.type,
        data=envelope.data,
        causation_id=envelope.causationid,
        correlation_id=envelope.correlationid,
        deduplication_id=timer.deduplication_id,
        expires_in=timer.expires_in,
        inherited=labels_from(envelope.labels),
        trace_parent=envelope.traceparent,
    )


def cancel(timer_id: UUID) -> bool:
    """Delete a timer; tell whether it was there.

    Its workflow is locked first, as whoever sends it does: the other way round, the two could wait for each other.
    """
    with transaction.atomic():
        workflow_id = Timer.objects.filter(pk=timer_id).values_list("workflow_id", flat=True).first()
        if workflow_id is None:
            return False
        log.lock_workflows([workflow_id], wait=True)
        return Timer.objects.filter(pk=timer_id).delete()[0] > 0
