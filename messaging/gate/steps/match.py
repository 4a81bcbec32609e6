"""match: the delivery is one of the message that the envelope holds."""

from __future__ import annotations

from collections.abc import Sequence

from messaging.core.ids import message_id_of
from messaging.core.outcome import Outcome
from messaging.gate.passage import Passage, Stop
from messaging.models import DeadReason


def match(passages: Sequence[Passage]) -> None:
    """Compare ids: a delivery's is its message's, and a number."""
    for passage in passages:
        if message_id_of(passage.delivery_id) != passage.envelope.message_id:
            passage.stop = Stop(
                Outcome.DEAD,
                DeadReason.INVALID_ENVELOPE,
                f"id: the header names delivery {passage.delivery_id}, which is not one of message "
                f"{passage.envelope.message_id}.",
            )
