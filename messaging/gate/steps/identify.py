"""identify: which delivery of the log a message claims to be."""

from __future__ import annotations

from collections.abc import Sequence

from messaging.brokers import ReceivedMessage
from messaging.core.describing import safe_repr
from messaging.core.outcome import Outcome
from messaging.gate.passage import Passage, Stop
from messaging.models import DeadReason
from messaging.transport import wire


def identify(passages: Sequence[Passage]) -> None:
    """Take the delivery id from the headers of what was received."""
    for passage in passages:
        if passage.received is not None:
            _identify(passage, passage.received)


def _identify(passage: Passage, received: ReceivedMessage) -> None:
    if received.unreadable:
        detail = f"It cannot be decoded: {received.unreadable}"
        passage.stop = Stop(Outcome.REJECTED, DeadReason.UNKNOWN_TASK, detail)
        return
    task = received.headers.get("task")
    if task != wire.DELIVER_TASK:
        passage.stop = Stop(
            Outcome.REJECTED,
            DeadReason.UNKNOWN_TASK,
            f"The header 'task' is {safe_repr(task)[:200]}; this queue carries {wire.DELIVER_TASK!r} only. "
            "Send other tasks to their own queue.",
        )
        return
    delivery_id = wire.delivery_id_of(received.headers)
    if delivery_id is None:
        passage.stop = Stop(
            Outcome.REJECTED,
            DeadReason.UNKNOWN_DELIVERY,
            f"The header 'id' is {safe_repr(received.headers.get('id'))[:200]}; a delivery id (UUID) is expected.",
        )
        return
    passage.delivery_id = delivery_id
