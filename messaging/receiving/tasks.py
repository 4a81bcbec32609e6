"""The Celery tasks behind the wire format, for a worker that consumes the message queues the ordinary way (``-Q``).

The consumer in each worker process does the same in batches and is what normally runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from celery import shared_task
from kombu.serialization import register

from messaging.brokers import ReceivedMessage
from messaging.brokers.rabbitmq.bundles import BUNDLE_TASK, BUNDLE_TYPE, unpack
from messaging.core.envelope import CONTENT_TYPE
from messaging.core.errors import NexusError
from messaging.gate.passage import received_passage
from messaging.gate.receiving import admit
from messaging.receiving import worker
from messaging.receiving.transactional.batch import settle_batch
from messaging.transport import wire
from messaging.transport.background import background_publisher

__all__ = ["deliver", "deliver_bundle", "mark", "worker"]


def _to_arguments(body: str | bytes) -> tuple[tuple[bytes], dict[str, Any], dict[str, Any]]:
    """Read an envelope's or a bundle's bytes as the arguments of its task."""
    return (body if isinstance(body, bytes) else body.encode(),), {}, {}


def _refuse_to_encode(_: Any) -> bytes:
    raise NexusError("Envelopes are built by the bus and published as they are. Send with bus.send().")


for _name, _content_type, _encoding in (("nexus", CONTENT_TYPE, "utf-8"), ("nexus-bundle", BUNDLE_TYPE, "binary")):
    register(  # type: ignore[no-untyped-call]
        _name, _refuse_to_encode, _to_arguments, content_type=_content_type, content_encoding=_encoding
    )


def _received(
    body: bytes, headers: Mapping[str, Any], content_type: str = CONTENT_TYPE, unreadable: str = ""
) -> ReceivedMessage:
    return ReceivedMessage(
        queue="",
        body=body,
        headers=headers,
        content_type=content_type,
        redelivered=True,
        tag=0,
        unreadable=unreadable,
    )


def _handle(received: Sequence[ReceivedMessage]) -> None:
    passages = [received_passage(message) for message in received]
    admit(passages)
    background_publisher().offer(settle_batch(passages).publish)


@shared_task(name=wire.DELIVER_TASK, bind=True, ignore_result=True, acks_late=True)  # type: ignore[untyped-decorator]
def deliver(self: Any, body: bytes) -> None:
    """Handle one delivery, as the consumer would.

    Args:
        body: the envelope's bytes.
    """
    headers = {"task": wire.DELIVER_TASK, "id": self.request.id, "signature": self.request.get("signature")}
    _handle([_received(body, headers)])


@shared_task(name=BUNDLE_TASK, bind=True, ignore_result=True, acks_late=True)  # type: ignore[untyped-decorator]
def deliver_bundle(self: Any, body: bytes) -> None:
    """Handle the deliveries of a bundle, as the consumer would.

    Args:
        body: the bundle's bytes.
    """
    try:
        content_type, parts = unpack(body)
    except ValueError as error:
        headers = {"task": BUNDLE_TASK, "id": self.request.id}
        _handle([_received(body, headers, BUNDLE_TYPE, unreadable=str(error))])
    else:
        _handle([_received(part, headers, content_type) for headers, part in parts])


@shared_task(name=wire.MARK_TASK, ignore_result=True)  # type: ignore[untyped-decorator]
def mark() -> None:
    """A marker that reaches an ordinary Celery worker says nothing about the queue."""
