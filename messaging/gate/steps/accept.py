"""accept: the agent takes what bears these labels. Asked in the transaction: what it remembers may become more."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from messaging.core.errors import NexusError
from messaging.core.labels import Labels
from messaging.core.outcome import Outcome
from messaging.directory.external import find_spec
from messaging.gate.passage import Passage, Stop
from messaging.models import DeadReason
from messaging.security.labels.deciding import NOTHING_LOWERED, LabelRefusal, effective, objection
from messaging.security.labels.stored import labels_from, lowerings
from messaging.security.labels.tracing import trace


def accept(passages: Sequence[Passage]) -> None:
    """Stop what an agent does not accept, and note what each message counts as.

    Args:
        passages: in the order in which each agent handles them.
    """
    touched = [passage for passage in passages if _concerns(passage)]
    if not touched:
        return
    lowered = lowerings({passage.envelope.message_id for passage in touched if passage.envelope.labels})
    remembered: dict[tuple[UUID, str], Labels] = {}
    for passage in passages:
        envelope = passage.envelope
        key = (envelope.workflow_id, passage.agent)
        passage.remembered |= remembered.get(key, passage.remembered)
        labels = labels_from(envelope.labels)
        lowering = lowered.get(envelope.message_id, NOTHING_LOWERED)
        spec = find_spec(passage.agent)
        found = None if spec is None else objection(spec, labels, passage.remembered, lowering)
        if found is not None:
            passage.stop = Stop(Outcome.DEAD, DeadReason.LABELS, _words(passage, found))
            continue
        passage.labels = effective(labels, lowering)
        remembered[key] = passage.remembered | passage.labels


def _concerns(passage: Passage) -> bool:
    if passage.envelope.labels or passage.remembered:
        return True
    spec = find_spec(passage.agent)
    return spec is not None and bool(spec.own_labels) and spec.does_all_three


def _words(passage: Passage, found: LabelRefusal) -> str:
    message = passage.envelope.message_id
    try:
        chains = trace(message, found.labels, agent=passage.agent)
    except NexusError:  # an envelope of the log cannot be read: the refusal stands without its chain
        chains = []
    brought = "; ".join(
        f"{chain.label} came with message {chain.links[-1].message_id} ({chain.links[-1].type} from "
        f"{chain.links[-1].source})"
        for chain in chains
        if chain.links
    )
    act = "approve" if found.by_approval else "endorse"
    return (
        f"{found.text}. {brought or 'Its own labels bring it in'}. Look at manage.py nexus_labels why {message}; "
        f"if it may go on: manage.py nexus_labels {act} {message} --reason …"
    )
