"""The Celery tasks behind the wire format, for a worker that consumes the message queues the ordinary way (``-Q``).

The consumer in each worker process does the same in batches and is what normally runs.
"""

from __future__ import annotations

from typing import Any

from celery import shared_task
from kombu.serialization import register

from messaging.brokers import ReceivedMessage
from messaging.core.envelope import CONTENT_TYPE
from messaging.core.errors import NexusError
from messaging.gate.passage import received_passage
from messaging.gate.receiving import admit
from messaging.receiving import worker
from messaging.receiving.transactional.batch import settle_batch
from messaging.transport import wire
from messaging.transport.background import background_publisher

__all__ = ["deliver", "mark", "worker"]


def _to_arguments(body: str | bytes) -> tuple[tuple[bytes], dict[str, Any], dict[str, Any]]:
    """Read an envelope's bytes as the arguments of ``messaging.deliver``."""
    return (body if isinstance(body, bytes) else body.encode(),), {}, {}


def _refuse_to_encode(_: Any) -> bytes:
    raise NexusError("Envelopes are built by the bus and published as they are. Send with bus.send().")


register(  # type: ignore[no-untyped-call]
    "nexus", _refuse_to_encode, _to_arguments, content_type=CONTENT_TYPE, content_encoding="utf-8"
)


@shared_task(name=wire.DELIVER_TASK, bind=True, ignore_result=True, acks_late=True)  # type: ignore[untyped-decorator]
def deliver(self: Any, body: bytes) -> None:
    """Handle one delivery, as the consumer would.

    Args:
        body: the envelope's bytes.
    """
    headers = {"task": wire.DELIVER_TASK, "id": self.request.id, "signature": self.request.get("signature")}
    passage = received_passage(
        ReceivedMessage(queue="", body=body, headers=headers, content_type=CONTENT_TYPE, redelivered=True, tag=0)
    )
    admit([passage])
    background_publisher().offer(settle_batch([passage]).publish)


@shared_task(name=wire.MARK_TASK, ignore_result=True)  # type: ignore[untyped-decorator]
def mark() -> None:
    """A marker that reaches an ordinary Celery worker says nothing about the queue."""
