"""The Celery tasks behind the wire format, for a worker that consumes the message queues the ordinary way (``-Q``).

The consumer in each worker process does the same in batches and is what normally runs.
"""

from __future__ import annotations

from typing import Any

from celery import shared_task
from celery.exceptions import Reject
from kombu.serialization import register

from messaging.brokers import ReceivedMessage
from messaging.core.envelope import CONTENT_TYPE
from messaging.core.errors import NexusError
from messaging.receiving import worker
from messaging.receiving.batch import settle_batch
from messaging.receiving.pipeline import Refused, admit
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
    headers = {"task": wire.DELIVER_TASK, "id": self.request.id}
    received = ReceivedMessage(queue="", body=body, headers=headers, content_type=CONTENT_TYPE, redelivered=True, tag=0)
    try:
        settled = settle_batch([admit(received)])
    except Refused as refused:
        raise Reject(str(refused), requeue=False) from refused
    background_publisher().offer(settled.publish)
    for _, reason in settled.refused:
        raise Reject(str(reason), requeue=False)


@shared_task(name=wire.MARK_TASK, ignore_result=True)  # type: ignore[untyped-decorator]
def mark() -> None:
    """A marker that reaches an ordinary Celery worker says nothing about the queue."""
