"""Walking the log: does it still say what was stored?

Bytes against signatures, rows against envelopes, numbers without holes, counters against rows. Nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

from messaging import log
from messaging.core.envelope import Envelope, parse_envelope
from messaging.core.errors import BadSignature, EnvelopeError
from messaging.models import (
    FINAL_STATES,
    Delivery,
    DeliveryState,
    Mailbox,
    Message,
    Workflow,
)
from messaging.security.signatures import jws, keys
from messaging.security.signatures.routing import routing_digest

CHUNK = 500
MAX_BYTES = 64 * 1024 * 1024
"""What was once stored is read, whatever the limit is today."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Something in the log is not as it was stored.

    Args:
        subject: what it is about, such as ``message 01a…``.
        problem: what differs.
    """

    subject: str
    problem: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.problem}"


def verify_log(workflows: list[UUID] | None = None) -> Iterator[Difference]:
    """Report every difference, workflow by workflow.

    Args:
        workflows: only these; all of them by default.
    """
    ring = keys.verifying()
    chosen = Workflow.objects.order_by("pk")
    if workflows is not None:
        chosen = chosen.filter(pk__in=workflows)
    for workflow in chosen.iterator(CHUNK):
        yield from _verify_workflow(workflow, ring)


def verify_message(message: Message, ring: keys.Keyring) -> list[str]:
    """What differs in one message and its deliveries; empty when all is well."""
    body = bytes(message.envelope)
    try:
        envelope = parse_envelope(body, max_bytes=MAX_BYTES)
    except EnvelopeError as error:
        return [f"its envelope cannot be read: {error}"]
    places = log.read_places([message.pk]).get(message.pk, {})
    return [
        *_columns(message, envelope),
        *_signature(message, body, envelope, list(places.values()), ring),
        *_deliveries(envelope, places),
    ]


def _columns(message: Message, envelope: Envelope) -> Iterator[str]:
    pairs = {
        "id": (message.pk, envelope.message_id),
        "workflow": (message.workflow_id, envelope.workflow_id),
        "sequence": (message.sequence, envelope.sequence_number),
        "type": (message.type, envelope.type),
        "source": (message.source, envelope.source),
        "subject": (message.subject, envelope.subject),
        "correlation_id": (message.correlation_id, envelope.correlationid),
    }
    for name, (column, said) in pairs.items():
        if column != said:
            yield f"its column {name} is {column}, its envelope says {said}"


def _signature(
    message: Message, body: bytes, envelope: Envelope, places: list[tuple[str, int]], ring: keys.Keyring
) -> Iterator[str]:
    if not message.signature:
        yield "it is not signed"
        return
    try:
        header = jws.verify(message.signature, body, ring.part_of)
    except BadSignature as error:
        yield str(error)
        return
    key = ring.keys[header.key]
    if not key.may_sign_for(envelope.source):
        yield f"the key {key.kid} may not sign for {envelope.source!r}"
    if key.state in keys.ENDED:
        fact = (key.kid, message.pk, sha256(body).hexdigest())
        open_ones = Delivery.objects.filter(pk__gt=message.pk, pk__lte=message.last_delivery_id)
        settled = not open_ones.exclude(state__in=FINAL_STATES).exists()
        if not settled and fact not in log.read_exemptions([message.pk]):
            yield f"its key {key.kid} is {key.state.value}, and it was not in flight then"
    if envelope.position is None and places and header.to != routing_digest(places):
        yield "its recipients or their positions are not those that were signed"
    if envelope.position is not None and header.to:
        yield "it is signed as a group's message, and its envelope is a direct one's"


def _deliveries(envelope: Envelope, places: dict[UUID, tuple[str, int]]) -> Iterator[str]:
    if envelope.position is None:
        return
    said = (envelope.subject, envelope.position)
    if len(places) != 1:
        yield f"it has {len(places)} deliveries, and a direct message has one"
    for identifier, place in places.items():
        if place != said:
            yield f"delivery {identifier} is for {place[0]} at {place[1]}, its envelope says {said[0]} at {said[1]}"


def _verify_workflow(workflow: Workflow, ring: keys.Keyring) -> Iterator[Difference]:
    expected: int | None = None
    messages = Message.objects.filter(workflow=workflow).order_by("sequence")
    for message in messages.iterator(CHUNK):
        if expected is not None and message.sequence != expected:
            yield Difference(f"workflow {workflow.pk}", f"#{expected} to #{message.sequence - 1} are missing")
        expected = message.sequence + 1
        for problem in verify_message(message, ring):
            yield Difference(f"message {message.pk}", problem)
    if expected is not None and workflow.sequence != expected - 1:
        yield Difference(
            f"workflow {workflow.pk}", f"its last message is #{expected - 1}, its counter says {workflow.sequence}"
        )
    for mailbox in Mailbox.objects.filter(workflow=workflow).order_by("pk"):
        for problem in _verify_mailbox(mailbox):
            yield Difference(f"mailbox of {mailbox.agent} in workflow {workflow.pk}", problem)


def _verify_mailbox(mailbox: Mailbox) -> Iterator[str]:
    if mailbox.processed > mailbox.sent:
        yield f"processed is {mailbox.processed}, and only {mailbox.sent} were sent"
    expected: int | None = None
    found = Delivery.objects.filter(mailbox=mailbox, edition=0).order_by("position")
    for agent, workflow, position, state in found.values_list("agent", "workflow_id", "position", "state").iterator(
        CHUNK
    ):
        if (agent, workflow) != (mailbox.agent, mailbox.workflow_id):
            yield f"position {position} belongs to {agent} in workflow {workflow}"
        if expected is not None and position != expected:
            yield f"positions {expected} to {position - 1} are missing"
        expected = position + 1
        if position > mailbox.processed and state == DeliveryState.PROCESSED:
            yield f"position {position} is processed, and the counter says {mailbox.processed}"
        if position <= mailbox.processed and state in (DeliveryState.HELD, DeliveryState.LEASED):
            yield f"position {position} is {state}, and the counter says {mailbox.processed}"
    if expected is not None and expected - 1 != mailbox.sent:
        yield f"its last delivery has position {expected - 1}, its counter says {mailbox.sent}"
