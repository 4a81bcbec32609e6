"""names: who a message goes to."""

from __future__ import annotations

from collections.abc import Sequence

from messaging.directory.names import Recipient
from messaging.gate.draft import Draft, Ground


def names(drafts: Sequence[Draft], ground: Ground) -> None:
    """Resolve every recipient, each name once.

    Raises:
        UnknownAgent: a name is neither an agent's nor a group's.
    """
    resolved: dict[tuple[str, str], list[Recipient]] = {}
    for draft in drafts:
        key = (draft.outgoing.recipient, draft.outgoing.source)
        if key not in resolved:
            resolved[key] = ground.resolve(key[0], sender=key[1])
        draft.recipients = resolved[key]
