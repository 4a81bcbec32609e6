"""label: a message bears the labels of all that it is made of."""

from __future__ import annotations

from collections.abc import Sequence

from messaging.conf import get_settings
from messaging.core.labels import NO_LABELS, as_labels
from messaging.gate.draft import Draft, Ground


def label(drafts: Sequence[Draft], ground: Ground) -> None:
    """Join what the sender says, what the installation says of sender and type, and what the message was caused by.

    Raises:
        LabelError: the data are not what their extraction allows.
    """
    unknown = {
        cause
        for draft in drafts
        if draft.outgoing.inherited is None and (cause := draft.outgoing.causation_id) is not None
    }
    causes = ground.labels_of(unknown) if unknown else {}
    rules = get_settings().label_rules
    for draft in drafts:
        outgoing = draft.outgoing
        spec = ground.agent(outgoing.source)
        labels = NO_LABELS if spec is None else spec.own_labels
        if outgoing.labels is not None:
            labels |= as_labels(outgoing.labels)
        if outgoing.inherited is not None:
            labels |= outgoing.inherited
        elif outgoing.causation_id is not None:
            labels |= causes.get(outgoing.causation_id, NO_LABELS)
        if rules.rules:
            labels |= rules.of(outgoing.source, outgoing.type)
        draft.labels = labels
        if outgoing.extraction is not None:
            outgoing.extraction.check(outgoing.data)
            draft.lowered_from, draft.labels = labels, labels.lowered(trusted=True)
