"""What an agent loses with a dead letter that an operator discards."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

Consequence = Callable[[UUID, str], None]
"""Called with the workflow's id and the message's type, in the discard's transaction, under the workflow's lock."""

_consequences: dict[str, Consequence] = {}


def when_discarded(agent: str, consequence: Consequence) -> None:
    """Have something done whenever a message to an agent is discarded. Call it in an ``AppConfig.ready``.

    Args:
        agent: the recipient; a later call replaces an earlier one.
        consequence: see ``Consequence``; what it raises refuses the discard.
    """
    _consequences[agent] = consequence


def tell_discarded(agent: str, workflow_id: UUID, message_type: str) -> None:
    """Do what was registered for the recipient of a message that is discarded."""
    consequence = _consequences.get(agent)
    if consequence is not None:
        consequence(workflow_id, message_type)
