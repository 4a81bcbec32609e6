"""Edit and replay: a dead letter's message is sent once more with other data, and handled in the position of the first.

The edited message has an id, a number in the workflow and a signature of its own, and passes the sending gate as any
other does. Sender, recipient, type, request and expiry stay those of the first. It stands at the first one's position
of the mailbox, so that the order for its recipient is kept; the delivery that it replaces is settled as REPLACED, and
copies of it that still travel are duplicates.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec
from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from messaging import log
from messaging.conf import get_settings
from messaging.core.arguments import check_text
from messaging.core.envelope import Envelope, parse_envelope
from messaging.core.errors import EnvelopeError, ReplayError
from messaging.core.labels import Labels
from messaging.core.messages import Outgoing, SentMessage
from messaging.directory.names import require_handler
from messaging.models import (
    DeadLetter,
    DeadLetterStatus,
    DeadReason,
    Delivery,
    DeliveryState,
    EndorsementKind,
    LabelEndorsement,
    Message,
    SigningMode,
    Workflow,
)
from messaging.operators.acts import Actor, record
from messaging.operators.verifying import MAX_BYTES, verify_message
from messaging.recovery.open_letters import lock_open, refuse_rejected, resolve_letter, resume_if_last
from messaging.security.access.holding import holding_policy
from messaging.security.encryption.payloads import open_data
from messaging.security.labels.stored import labels_from
from messaging.security.signatures import keys
from messaging.sending import outbox

_NOT_ITS_DATA = (DeadReason.NOT_AUTHENTIC, DeadReason.INVALID_ENVELOPE, DeadReason.LABELS, DeadReason.NOT_AUTHORIZED)
"""What other data would not mend. To sign again what proved nothing would make it look as if its sender had said it."""


def may_edit(letter: DeadLetter) -> bool:
    """Whether there is anything to edit: it is on, and the letter's data may be what is wrong."""
    return (
        get_settings().edit_and_replay == "on"
        and letter.status == DeadLetterStatus.OPEN
        and letter.delivery_id is not None
        and letter.reason not in _NOT_ITS_DATA
    )


def edit_and_replay(dead_letter_id: int, data: Any, *, actor: Actor, reason: str) -> SentMessage:
    """Send an open dead letter's message with other data, in its position.

    Args:
        dead_letter_id: of an open dead letter.
        data: any JSON value, in place of the message's.
        actor: the person.
        reason: why, for whoever reads the log later.

    Returns:
        The receipt of the edited message.

    Raises:
        ReplayError: it is switched off, the letter is not open, or other data would not mend it.
        SendError, EnvelopeError: the edited message may not be sent; nothing is changed.
        SigningKeyError: this process cannot use its key.
        NotDecrypted: the first one's data are encrypted and do not open, which is not why it is dead.
    """
    if get_settings().edit_and_replay != "on":
        raise ReplayError("Edit and replay is switched off. Set NEXUS_EDIT_AND_REPLAY=on where it is wanted.")
    check_text("reason", reason)
    with transaction.atomic(), holding_policy():
        letter, delivery, workflow = lock_open(dead_letter_id)
        _refuse(letter, delivery, workflow)
        message = Message.objects.get(pk=delivery.message_id)
        envelope = _authentic(message)
        if letter.reason != DeadReason.NOT_DECRYPTED and _says(envelope, data):
            raise ReplayError(f"Dead letter {letter.pk}: nothing was changed. Replay it as it is.")
        now = timezone.now()
        outgoing = _outgoing(message, envelope, data, now)
        _step_aside(delivery, now)
        row = log.lock_workflows([workflow.pk], wait=True)[workflow.pk]
        stored = outbox.store_in_place(
            outgoing, row, agent=delivery.agent, mailbox_id=delivery.mailbox_id, position=delivery.position
        )
        log.save_sequences([row])
        # There is no publisher behind this: the relay publishes it in its next turn.
        log.reschedule([one.id for one in stored.deliveries], DeliveryState.PENDING, now)
        (receipt,) = stored.receipts
        resolve_letter(letter, DeadLetterStatus.REPLACED, str(actor), replaced_by=receipt.id)
        resume_if_last(workflow)
        record(
            actor,
            "edit and replay",
            DeadLetter,
            letter.pk,
            reason=reason,
            before={"status": "open", "message": str(message.pk), "envelope_sha256": _digest(message)},
            after={
                "status": "replaced",
                "message": str(receipt.id),
                "envelope_sha256": _digest(Message.objects.get(pk=receipt.id)),
            },
        )
    return receipt


def _refuse(letter: DeadLetter, delivery: Delivery, workflow: Workflow) -> None:
    if not workflow.is_open:
        raise ReplayError(f"Workflow {workflow.pk} is {workflow.status}; its messages cannot be replayed.")
    if letter.reason in _NOT_ITS_DATA:
        raise ReplayError(
            f"Dead letter {letter.pk} stopped because {letter.get_reason_display()}: other data would not mend that."
        )
    refuse_rejected(delivery)
    require_handler(delivery.agent)


def _authentic(message: Message) -> Envelope:
    """The message's envelope, if the log still says what was signed: what is taken from it is signed once more."""
    ring = keys.verifying()
    if ring.mode is SigningMode.ENFORCE and (problems := verify_message(message, ring)):
        raise ReplayError(f"Message {message.pk} cannot be edited: {problems[0]}. See manage.py nexus_verify.")
    try:
        return parse_envelope(bytes(message.envelope), max_bytes=MAX_BYTES)
    except EnvelopeError as error:
        raise ReplayError(f"Message {message.pk} cannot be edited: its envelope cannot be read ({error}).") from error


def _outgoing(message: Message, envelope: Envelope, data: Any, now: datetime) -> Outgoing:
    left = None if envelope.expirytime is None else (envelope.expirytime - now).total_seconds()
    if left is not None and left <= 0:
        raise ReplayError(f"Message {message.pk} expired at {envelope.expirytime}: nobody would handle it. Discard it.")
    return Outgoing(
        workflow_id=message.workflow_id,
        source=envelope.source,
        recipient=envelope.subject,
        type=envelope.type,
        data=data,
        causation_id=message.pk,
        correlation_id=envelope.correlationid,
        expires_in=left,
        inherited=_labels(message, envelope),
    )


def _labels(message: Message, envelope: Envelope) -> Labels:
    """Those of the first message, before anybody let them count as less: that was said of other data."""
    labels = labels_from(envelope.labels)
    extracted = LabelEndorsement.objects.filter(message_id=message.pk, kind=EndorsementKind.EXTRACTION)
    for before in extracted.values_list("before", flat=True):
        labels |= labels_from(before)
    return labels


def _step_aside(delivery: Delivery, now: datetime) -> None:
    """Leave the position to the message that comes in its place."""
    here = Delivery.objects.filter(mailbox=delivery.mailbox_id, position=delivery.position)
    delivery.edition = (here.aggregate(last=Max("edition"))["last"] or 0) + 1
    delivery.state, delivery.settled_at = DeliveryState.REPLACED, now
    delivery.save(update_fields=["edition", "state", "settled_at"])


def _says(envelope: Envelope, data: Any) -> bool:
    return _text(open_data(envelope, for_a_person=True).data) == _text(data)


def _text(data: Any) -> bytes:
    return msgspec.json.encode(data, order="sorted")


def _digest(message: Message) -> str:
    return sha256(bytes(message.envelope)).hexdigest()
