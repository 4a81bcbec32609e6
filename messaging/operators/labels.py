"""What people decide about labels: named, with a reason, as rows that stay."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from messaging import log
from messaging.core.arguments import check_text
from messaging.core.describing import safe_repr
from messaging.core.errors import LabelError
from messaging.core.labels import Labels
from messaging.models import DeadLetter, DeadLetterStatus, DeadReason, EndorsementKind, Message, Workflow
from messaging.recovery.replay import replay
from messaging.security.labels.deciding import NOTHING_LOWERED, effective
from messaging.security.labels.stored import labels_from, lowerings, remembered_by
from messaging.security.labels.tracing import parse_stored
from messaging.workflows import life_cycle


def endorse(
    message_id: UUID, reason: str, *, who: str, trusted: bool = True, public: Collection[str] = ()
) -> list[int]:
    """Let a message count as less than its labels say, and put back what stopped because of them.

    Args:
        message_id: of the message.
        reason: for whoever reads the log.
        who: says so.
        trusted: whether it counts as trusted.
        public: private names that count as public.

    Returns:
        The dead letters that were put back.

    Raises:
        LabelError: there is no such message, or nothing to lower.
        ReplayError: what stopped cannot be put back; nothing was changed.
    """
    return _decide(message_id, reason, who, EndorsementKind.PERSON, trusted=trusted, public=public)


def approve(message_id: UUID, reason: str, *, who: str) -> list[int]:
    """Let an agent that does all three handle a message as it is. See ``endorse``."""
    return _decide(message_id, reason, who, EndorsementKind.APPROVAL)


def _decide(
    message_id: UUID,
    reason: str,
    who: str,
    kind: EndorsementKind,
    *,
    trusted: bool = False,
    public: Collection[str] = (),
) -> list[int]:
    check_text("reason", reason)
    check_text("who", who)
    with transaction.atomic():
        found = Message.objects.filter(pk=message_id).values_list("workflow_id", "envelope").first()
        if found is None:
            raise LabelError(f"There is no message {message_id}.")
        if Workflow.objects.filter(pk=found[0]).exists():
            life_cycle.lock(found[0])  # as whoever handles it does: the two cannot pass each other
        stopped = list(
            DeadLetter.objects.filter(
                delivery__message_id=message_id, reason=DeadReason.LABELS, status=DeadLetterStatus.OPEN
            ).order_by("pk")
        )
        before = _counted_as(message_id, found[0], bytes(found[1]), stopped)
        after = before.lowered(trusted=trusted, public=public)
        if kind is EndorsementKind.PERSON and after == before:
            raise LabelError(f"Message {message_id} has {before or 'no labels'}: there is nothing to lower.")
        if missing := sorted(set(public) - before.private):
            raise LabelError(
                f"Message {message_id} has {before}, and {safe_repr(missing[0])} is none of its private names."
            )
        log.insert_endorsements([(message_id, kind.value, who[:150], reason, str(before), str(after), timezone.now())])
        for letter in stopped:
            replay(letter.pk, user=who)
    return [letter.pk for letter in stopped]


def _counted_as(message_id: UUID, workflow_id: UUID, body: bytes, stopped: list[DeadLetter]) -> Labels:
    """What the message counts as where it stopped: what its recipients remember was held against it too."""
    own = labels_from(parse_stored(body).labels)
    labels = effective(own, lowerings([message_id]).get(message_id, NOTHING_LOWERED))
    for letter in stopped:
        labels |= remembered_by(workflow_id, letter.agent)
    return labels
