"""Labels as the log has them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from uuid import UUID

from messaging import log
from messaging.conf import get_settings
from messaging.core.envelope import parse_envelope
from messaging.core.labels import NO_LABELS, Labels
from messaging.models import EndorsementKind, Mailbox
from messaging.security.labels.deciding import NOTHING_LOWERED, Lowering, effective


def labels_from(text: str | None) -> Labels:
    """Labels as an envelope or a mailbox has them."""
    return Labels.parse(text) if text else NO_LABELS


def lowerings(message_ids: Collection[UUID]) -> dict[UUID, Lowering]:
    """What people decided about messages; the latest decision counts."""
    found: dict[UUID, Lowering] = {}
    for row in log.read_endorsements(message_ids) if message_ids else ():
        before = found.get(row.message_id, NOTHING_LOWERED)
        found[row.message_id] = (
            Lowering(before.labels, approved=True)
            if row.kind == EndorsementKind.APPROVAL
            else Lowering(labels_from(row.after), before.approved)
        )
    return found


def labels_of_messages(message_ids: Collection[UUID]) -> Mapping[UUID, Labels]:
    """What messages count as; those that the log does not have, or that have none, are left out."""
    limit = get_settings().max_message_bytes
    found = {}
    for key, body in log.read_envelopes(message_ids).items():
        text = parse_envelope(body, max_bytes=max(limit, len(body))).labels
        if text:
            found[key] = Labels.parse(text)
    lowered = lowerings(found)
    return {key: effective(labels, lowered.get(key, NOTHING_LOWERED)) for key, labels in found.items()}


def remembered_by(workflow_id: UUID, agent: str) -> Labels:
    """The labels of everything that an agent handled in a workflow."""
    text = Mailbox.objects.filter(workflow=workflow_id, agent=agent).values_list("labels", flat=True).first()
    return labels_from(text)
