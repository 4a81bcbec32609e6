"""What happened in a workflow, a window of messages at a time: each with its deliveries and what was said of it.

A window is found by the sequence number, which an index serves: the first of 20,000 messages and the last cost the
same, and nothing is ever counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec
from django.db.models import BinaryField, F, OuterRef, Subquery
from django.db.models.functions import Substr

from messaging import log
from messaging.core.envelope_rules import ENCRYPTED_DATA
from messaging.core.errors import BadSignature
from messaging.core.ids import message_id_of
from messaging.models import (
    FINAL_STATES,
    DeadLetter,
    Delivery,
    DeliveryState,
    LabelEndorsement,
    Mailbox,
    Message,
    Verdict,
    Workflow,
)
from messaging.security.encryption.payloads import HIDDEN
from messaging.security.signatures import jws

WINDOW = 200
"""Messages of one window."""
MAX_DELIVERIES_READ = 2_000
"""Deliveries of one window; a group's message may have thousands."""
MAX_MAILBOXES = 200
HEAD = 4_096
"""Bytes of each envelope that are read: its attributes stand before its data, which may be long."""
MAX_PREVIEW = 160
_DATA = b',"data":'
_ENCRYPTED = f'"datacontenttype":"{ENCRYPTED_DATA}"'.encode()


@dataclass(slots=True, kw_only=True)
class TimelineDelivery:
    """A delivery, and what people and rules said of it.

    Args:
        row: of the log.
        waits_for: position that its agent handles before; 0 for one whose turn it is, and for one that is done.
        verdicts, dead_letters: of this delivery, the oldest first.
    """

    row: Delivery
    waits_for: int = 0
    verdicts: list[Verdict] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class TimelineMessage:
    """A message of a window.

    Args:
        row: of the log, without its envelope.
        labels: as its envelope has them; None where its beginning does not tell.
        preview: the beginning of its data as JSON; of encrypted ones that they are.
        key: name of the key that signed it; empty for none.
        deliveries: in the order of their numbers.
        endorsements: what people decided about its labels.
    """

    row: Message
    labels: str | None
    preview: str
    key: str
    deliveries: list[TimelineDelivery] = field(default_factory=list)
    endorsements: list[LabelEndorsement] = field(default_factory=list)

    @property
    def state(self) -> str:
        """The state that says most: what is wrong first, then what waits, then what is done."""
        return most_urgent(delivery.row.state for delivery in self.deliveries)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineWindow:
    """Messages that follow each other.

    Args:
        messages: in their order.
        first: the sequence number from which on was asked.
        cut: whether some deliveries were left out (``MAX_DELIVERIES_READ``).
    """

    messages: Sequence[TimelineMessage]
    first: int
    cut: bool

    @property
    def last(self) -> int:
        """The number of its last message; of the one before ``first`` when it is empty."""
        return self.messages[-1].row.sequence if self.messages else self.first - 1


@dataclass(frozen=True, slots=True)
class MailboxProgress:
    """How far an agent is.

    Args:
        agent: whose mailbox.
        sent, processed: its counters.
        labels: of what the agent handled.
        gap: (first, last) position that the log does not have and the agent waits for, or None.
    """

    agent: str
    sent: int
    processed: int
    labels: str
    gap: tuple[int, int] | None


_URGENCY = (
    DeliveryState.DEAD,
    DeliveryState.QUARANTINED,
    DeliveryState.HELD,
    DeliveryState.LEASED,
    DeliveryState.PENDING,
    DeliveryState.SENT,
    DeliveryState.EXPIRED,
    DeliveryState.CANCELLED,
    DeliveryState.PROCESSED,
)


def most_urgent(states: Iterable[str]) -> str:
    """Of the states of a message's deliveries the one to look at; empty where there are none."""
    found = set(states)
    return next((state.value for state in _URGENCY if state.value in found), "")


def read_window(workflow: Workflow, first: int) -> TimelineWindow:
    """The messages from a sequence number on, ``WINDOW`` of them at most.

    Args:
        workflow: whose.
        first: sequence number; where the log does not have it, what comes next is first.
    """
    found = (
        Message.objects.filter(workflow=workflow, sequence__gte=first)
        .order_by("sequence")
        .annotate(head=Substr("envelope", 1, HEAD, output_field=BinaryField()))
        .defer("envelope")
    )
    messages = [_message(row) for row in found[:WINDOW]]
    by_id = {message.row.pk: message for message in messages}
    deliveries = read_deliveries(by_id)
    _tell_what_was_said([TimelineDelivery(row=row) for row in deliveries], by_id)
    for act in LabelEndorsement.objects.filter(message_id__in=list(by_id)).order_by("pk")[:MAX_DELIVERIES_READ]:
        by_id[act.message_id].endorsements.append(act)
    return TimelineWindow(messages=messages, first=first, cut=len(deliveries) >= MAX_DELIVERIES_READ)


def _message(row: Any) -> TimelineMessage:
    head = bytes(row.head)
    attributes, _, data = head.partition(_DATA)
    return TimelineMessage(
        row=row,
        labels=_labels(attributes) if data else None,
        preview=HIDDEN if _ENCRYPTED in attributes else data[:-1][:MAX_PREVIEW].decode(errors="ignore"),
        key=_key(row.signature),
    )


def _labels(attributes: bytes) -> str | None:
    try:
        labels = msgspec.json.decode(attributes + b"}").get("labels")
    except (msgspec.MsgspecError, AttributeError, UnicodeDecodeError):
        return None
    return labels if isinstance(labels, str) else ""


def _key(signature: str) -> str:
    """Who claims to have signed; whether it is true, the message's own page says."""
    try:
        return jws.read(signature).key if signature else ""
    except BadSignature:
        return "unreadable"


def read_deliveries(messages: Iterable[UUID], *, limit: int = MAX_DELIVERIES_READ) -> list[Delivery]:
    """The deliveries of messages: each message's are a range of the primary key.

    Args:
        messages: their ids.
        limit: deliveries at most.
    """
    found = Delivery.objects.in_bulk(log.delivery_ids_of(list(messages), limit))
    return [found[key] for key in sorted(found)]


def _tell_what_was_said(deliveries: Sequence[TimelineDelivery], messages: Mapping[UUID, TimelineMessage]) -> None:
    by_id = {delivery.row.pk: delivery for delivery in deliveries}
    for delivery in deliveries:
        messages[message_id_of(delivery.row.pk)].deliveries.append(delivery)
    for verdict in Verdict.objects.filter(delivery__in=list(by_id)).order_by("pk"):
        by_id[verdict.delivery_id].verdicts.append(verdict)
    for letter in DeadLetter.objects.filter(delivery__in=list(by_id)).defer("body", "headers").order_by("pk"):
        if letter.delivery_id is not None:
            by_id[letter.delivery_id].dead_letters.append(letter)
    waiting = [delivery for delivery in deliveries if delivery.row.state not in FINAL_STATES]
    counters = dict(
        Mailbox.objects.filter(pk__in={delivery.row.mailbox_id for delivery in waiting}).values_list("pk", "processed")
    )
    for delivery in waiting:
        next_one = counters.get(delivery.row.mailbox_id, 0) + 1
        delivery.waits_for = next_one if next_one < delivery.row.position else 0


def read_mailboxes(workflow: Workflow) -> list[MailboxProgress]:
    """How far each agent is, ``MAX_MAILBOXES`` at most, those with the most to do first."""
    following = Delivery.objects.filter(mailbox=OuterRef("pk"), position__gt=OuterRef("processed")).order_by("position")
    found = (
        Mailbox.objects.filter(workflow=workflow)
        .annotate(following=Subquery(following.values("position")[:1]))
        .order_by(F("processed") - F("sent"), "agent")
    )
    return [
        MailboxProgress(row.agent, row.sent, row.processed, row.labels or "", _gap(row))
        for row in found[:MAX_MAILBOXES]
    ]


def _gap(row: Any) -> tuple[int, int] | None:
    if row.sent == row.processed:
        return None
    last = (row.following or row.sent + 1) - 1
    return (row.processed + 1, last) if last > row.processed else None


def states_of(messages: Sequence[UUID]) -> dict[UUID, str]:
    """Message → the state that says most of its deliveries."""
    states: dict[UUID, list[str]] = defaultdict(list)
    for delivery in read_deliveries(messages):
        states[message_id_of(delivery.pk)].append(delivery.state)
    return {message: most_urgent(found) for message, found in states.items()}
