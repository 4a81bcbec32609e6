"""Messages that were sent before: by their deduplication ids, in the log or in memory, and within one burst."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from messaging.core.messages import Outgoing
from messaging.gate.draft import Draft

DeduplicationKey = tuple[UUID, str, str]
"""(workflow, sender, deduplication id)"""


def deduplication_key(message: Outgoing) -> DeduplicationKey | None:
    """What two sends of the same message share; None without a deduplication id."""
    if message.deduplication_id is None:
        return None
    return message.workflow_id, message.source, message.deduplication_id


def fresh_drafts(outgoing: Sequence[Outgoing], known: Iterable[DeduplicationKey]) -> dict[int, Draft]:
    """Leave out what was sent before, also earlier in this burst. Returns drafts by their place in the burst.

    Whatever is counted here gets a position; counting a copy would leave a hole in its mailbox for ever.
    """
    seen = set(known)
    fresh = {}
    for number, message in enumerate(outgoing):
        key = deduplication_key(message)
        if key is None or key not in seen:
            fresh[number] = Draft(message)
        if key is not None:
            seen.add(key)
    return fresh
