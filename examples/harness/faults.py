"""What goes wrong on purpose: messages out of order, messages twice, a worker gone in the middle of its work."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Sequence
from time import monotonic
from uuid import UUID

from examples.audit_team.team import CLIENT
from examples.harness.processes import Process
from messaging import log
from messaging.brokers import Confirmation, MessageBroker, ReceivedMessage
from messaging.brokers.topology import TRANSACTIONAL_QUEUE
from messaging.conf import get_settings
from messaging.models import Delivery, DeliveryState
from messaging.transport import wire

REPUBLISHED = 50
OUT_OF_ORDER = 20
_WITHHOLD_SECONDS = 0.3
_AT_ONCE = 200

_pause = threading.Event()


def withhold(broker: MessageBroker, workflow: UUID) -> list[ReceivedMessage]:
    """Take some messages of the critic and the reporter out of the queue, as a network that delays packets would.

    They stay with this process until ``publish_out_of_order`` gives them back.
    """
    subscription = broker.subscribe(get_settings().queue_prefix + TRANSACTIONAL_QUEUE, prefetch=OUT_OF_ORDER)
    taken: list[ReceivedMessage] = []
    others: list[ReceivedMessage] = []
    deadline = monotonic() + _WITHHOLD_SECONDS
    while len(taken) + len(others) < OUT_OF_ORDER and (left := deadline - monotonic()) > 0:
        for message in broker.receive(subscription, limit=OUT_OF_ORDER, timeout=left):
            (taken if message.headers.get("workflow") == str(workflow) else others).append(message)
    for message in others:
        broker.negative_acknowledge(message, requeue=True)
    return taken


def publish_out_of_order(broker: MessageBroker, workflow: UUID, withheld: Sequence[ReceivedMessage]) -> int:
    """Publish what was withheld, and what else waits, with the last position first.

    Returns:
        How many deliveries were published while one before them in the same mailbox was not handled.
    """
    ids = {identifier for message in withheld if (identifier := wire.delivery_id_of(message.headers)) is not None}
    waiting = Delivery.objects.filter(workflow=workflow).exclude(agent=CLIENT)
    unhandled = waiting.filter(state__in=[DeliveryState.PENDING, DeliveryState.SENT, DeliveryState.HELD])
    ids |= set(unhandled.order_by("position").values_list("pk", flat=True)[:_AT_ONCE])
    places = {
        identifier: (position, processed)
        for identifier, position, processed in waiting.filter(pk__in=ids).values_list(
            "pk", "position", "mailbox__processed"
        )
    }
    stored = sorted(log.load_for_publishing(ids) if ids else [], key=lambda item: -places[item.id][0])
    confirmed = broker.publish_many([wire.delivery_message(item) for item in stored])
    broker.acknowledge(withheld)  # only now: the queue had them, and has them again
    early = {str(identifier) for identifier, (position, processed) in places.items() if position > processed + 1}
    return sum(known is Confirmation.CONFIRMED and key in early for key, known in confirmed.items())


def republish(broker: MessageBroker, workflow: UUID, seed: int) -> int:
    """Publish messages that were sent already, twice more each.

    Returns:
        How many messages; the broker confirmed two more copies of each.
    """
    sent = Delivery.objects.filter(workflow=workflow, state__in=[DeliveryState.SENT, DeliveryState.PROCESSED])
    ids = sorted(sent.exclude(agent=CLIENT).values_list("pk", flat=True))
    chosen = random.Random(seed).sample(ids, min(REPUBLISHED, len(ids)))
    if not chosen:
        return 0
    messages = [wire.delivery_message(item) for item in log.load_for_publishing(chosen)]
    copies = [broker.publish_many(messages) for _ in range(2)]
    return sum(all(copy[str(key)] is Confirmation.CONFIRMED for copy in copies) for key in chosen)


def kill_at_work(worker: Process, workflow: UUID) -> int:
    """kill -9 a worker while it works on something.

    It is frozen first, to see whether leased messages stay with it that the other worker does not finish.

    Returns:
        How many leased messages died with it.
    """
    deadline = monotonic() + 5
    leased = Delivery.objects.filter(workflow=workflow, state=DeliveryState.LEASED)
    waiting = Delivery.objects.filter(workflow=workflow).exclude(state=DeliveryState.PROCESSED)
    held: set[tuple[UUID, UUID | None]] = set()
    while monotonic() < deadline and waiting.exists():
        worker.signal(signal.SIGSTOP)
        before = set(leased.values_list("pk", "lease_token"))
        _pause.wait(0.15)
        held = before & set(leased.values_list("pk", "lease_token"))
        if held:
            break
        worker.signal(signal.SIGCONT)
        _pause.wait(0.03)
    worker.kill()
    return len(held)
