"""By which messages a label came in: the log walked back along causes and along what agents handled before."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from messaging.conf import get_settings
from messaging.core.envelope import Envelope, parse_envelope
from messaging.core.labels import NO_LABELS, Labels
from messaging.models import Delivery, DeliveryState, Message
from messaging.security.labels.deciding import NOTHING_LOWERED, effective
from messaging.security.labels.stored import labels_from, lowerings

MAX_LINKS = 1_000
"""Messages of one chain."""

MAX_LOOKED_AT = 10_000
"""Messages that one agent handled before, among which the first with a label is looked for."""


@dataclass(frozen=True, slots=True)
class ChainLink:
    """One message of a chain.

    Args:
        message_id, workflow_id, sequence, type, source, subject: of the message.
        labels: as its envelope has them.
        how: why it is here: ``"asked"``, ``"cause"`` or ``"remembered by AGENT"``.
    """

    message_id: UUID
    workflow_id: UUID
    sequence: int
    type: str
    source: str
    subject: str
    labels: str
    how: str

    def __str__(self) -> str:
        return f"#{self.sequence} {self.type} from {self.source} to {self.subject} ({self.message_id}): {self.how}"


@dataclass(frozen=True, slots=True)
class Chain:
    """How one label came in.

    Args:
        label: such as ``"origin:web"``.
        links: from the message asked about back to the one that brought it in.
        complete: False where the log does not reach back that far, or the chain is longer than ``MAX_LINKS``.
    """

    label: str
    links: tuple[ChainLink, ...]
    complete: bool


def trace(message_id: UUID, labels: Labels | None = None, *, agent: str = "") -> list[Chain]:
    """The chain of each label.

    Args:
        message_id: where to begin; nothing comes back for one that the log does not have.
        labels: which; None for those of the message.
        agent: to which the message goes: what it remembers is looked at where the message does not bear the label.
    """
    start = _read(message_id)
    if start is None:
        return []
    wanted = labels_from(start.labels) if labels is None else labels
    singles = [Labels(origins=frozenset([name])) for name in sorted(wanted.origins)]
    singles += [Labels(private=frozenset([name])) for name in sorted(wanted.private)]
    return [_chain(start, single, agent) for single in singles]


def _chain(start: Envelope, label: Labels, agent: str) -> Chain:
    links: list[ChainLink] = []
    if labels_from(start.labels).covers(label):
        links.append(_link(start, "asked"))
        current: Envelope | None = start
    else:
        current = _remembered(start, agent, label)
        if current is not None:
            links.append(_link(current, f"remembered by {agent}"))
    while current is not None and len(links) < MAX_LINKS:
        cause = None if current.causationid is None else _read(current.causationid)
        before, how = None, ""
        if cause is not None and _counts(cause).covers(label):
            before, how = cause, "cause"
        elif cause is not None:
            before, how = _remembered(current, current.source, label), f"remembered by {current.source}"
        if before is None:
            return Chain(str(label), tuple(links), complete=cause is not None or current.causationid is None)
        links.append(_link(before, how))
        current = before
    return Chain(str(label), tuple(links), complete=False)


def _remembered(envelope: Envelope, agent: str, label: Labels) -> Envelope | None:
    """The first message with a label that an agent handled before another message of the workflow."""
    earlier = Message.objects.filter(
        pk__in=Delivery.objects.filter(
            workflow=envelope.workflow_id, agent=agent, state=DeliveryState.PROCESSED
        ).values("message_id"),
        sequence__lt=envelope.sequence_number,
    ).order_by("sequence")
    for body in earlier.values_list("envelope", flat=True)[:MAX_LOOKED_AT].iterator():
        found = parse_stored(bytes(body))
        if found.labels and _counts(found).covers(label):
            return found
    return None


def _counts(envelope: Envelope) -> Labels:
    if not envelope.labels:
        return NO_LABELS
    lowered = lowerings({envelope.message_id}).get(envelope.message_id, NOTHING_LOWERED)
    return effective(labels_from(envelope.labels), lowered)


def _read(message_id: UUID) -> Envelope | None:
    body = Message.objects.filter(pk=message_id).values_list("envelope", flat=True).first()
    return None if body is None else parse_stored(bytes(body))


def parse_stored(body: bytes) -> Envelope:
    """An envelope of the log, which may be longer than what may be sent now."""
    return parse_envelope(body, max_bytes=max(get_settings().max_message_bytes, len(body)))


def _link(envelope: Envelope, how: str) -> ChainLink:
    return ChainLink(
        envelope.message_id,
        envelope.workflow_id,
        envelope.sequence_number,
        envelope.type,
        envelope.source,
        envelope.subject,
        envelope.labels or "",
        how,
    )
