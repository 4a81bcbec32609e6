"""The wire format: a delivery as a broker message.

Body: the exact envelope bytes, as they are stored and signed (CloudEvents 1.0, structured mode).
Headers: those of Celery's task protocol 2 for the task ``messaging.deliver``, so that any Celery worker of this
project can run it, and our own:

==============  ========================================================
``id``          delivery id (Celery's task id)
``workflow``    workflow id, for routing; the envelope is what counts
``signature``   JWS over the body (RFC 7515); empty when unsigned
``redelivery``  how often the relay sent it again because nobody saw it
==============  ========================================================

Several deliveries to the queue of transactional agents may travel in one broker message; the broker packs and unpacks
them (``brokers/rabbitmq/bundles.py``). Leased ones are handed out one by one, as there are places for their handlers.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from messaging.brokers import OutgoingMessage
from messaging.brokers.topology import LEASED_QUEUE, MAIN_EXCHANGE, TRANSACTIONAL_QUEUE, partition_queue
from messaging.conf import get_settings
from messaging.core.envelope import CONTENT_TYPE
from messaging.core.ids import uuid7
from messaging.core.partitions import partition_of
from messaging.core.registry import WORKER_KINDS, HandlerKind
from messaging.log import StoredDelivery

DELIVER_TASK = "messaging.deliver"
MARK_TASK = "messaging.mark"

QUEUE_NAMES = {HandlerKind.TRANSACTIONAL.value: TRANSACTIONAL_QUEUE, HandlerKind.LEASED.value: LEASED_QUEUE}


def queues_of(kind: str) -> dict[str, str]:
    """The queues that carry the deliveries of a kind of agents: their names in markers, and on the broker.

    Args:
        kind: ``transactional`` or ``leased``. The plain queue comes first, before its partitions.
    """
    settings = get_settings()
    names = {kind: QUEUE_NAMES[kind]}
    if kind == HandlerKind.TRANSACTIONAL.value and settings.queue_partitions > 1:
        names |= {f"{kind}.{number}": partition_queue(number) for number in range(settings.queue_partitions)}
    return {name: settings.queue_prefix + queue for name, queue in names.items()}


def marked_queues() -> dict[str, str]:
    """All queues that are read, as ``queues_of`` names them."""
    return {name: queue for kind in WORKER_KINDS for name, queue in queues_of(kind.value).items()}


def _queue_for(stored: StoredDelivery, partitions: int) -> str:
    if partitions > 1 and stored.queue == HandlerKind.TRANSACTIONAL.value:
        return partition_queue(partition_of(stored.workflow_id, partitions))
    return QUEUE_NAMES[stored.queue]


def _headers(task: str, identifier: str, **own: Any) -> dict[str, Any]:
    return {
        "lang": "py",
        "task": task,
        "id": identifier,
        "root_id": identifier,
        "parent_id": None,
        "group": None,
        **own,
    }


def delivery_message(stored: StoredDelivery) -> OutgoingMessage:
    """Build the broker message of a delivery."""
    identifier = str(stored.id)
    settings = get_settings()
    prefix = settings.queue_prefix
    return OutgoingMessage(
        id=identifier,
        body=stored.body,
        exchange=prefix + MAIN_EXCHANGE,
        routing_key=prefix + _queue_for(stored, settings.queue_partitions),
        headers=_headers(
            DELIVER_TASK,
            identifier,
            workflow=str(stored.workflow_id),
            signature=stored.signature,
            redelivery=stored.redeliveries,
        ),
        content_type=CONTENT_TYPE,
        correlation_id=identifier,
        bundle_size=settings.bundle_size if stored.queue == HandlerKind.TRANSACTIONAL.value else 1,
    )


def marker_message(queue: str, sent_at: datetime) -> OutgoingMessage:
    """Build a marker, which tells how far a queue has been read (see ``QueueMarker``).

    Args:
        queue: its name in ``marked_queues``.
        sent_at: the present time.
    """
    identifier = str(uuid7())
    return OutgoingMessage(
        id=identifier,
        body=b"[[],{},{}]",
        exchange=get_settings().queue_prefix + MAIN_EXCHANGE,
        routing_key=marked_queues()[queue],
        headers=_headers(MARK_TASK, identifier, queue=queue, sent_at=sent_at.isoformat()),
        content_type="application/json",
        correlation_id=identifier,
    )


def delivery_id_of(headers: Any) -> UUID | None:
    """The delivery id in the headers of a received message, or None where there is none."""
    try:
        return UUID(headers["id"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
