"""Storing events from outside: in one transaction they are known, authorised, numbered and signed as messages.

The way into the log is that of every message (``sending.outbox``): names, access policy, schemas, limits. What is
stored carries this installation's signature; the bytes that the program signed stand beside it (``ForeignArrival``).
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from messaging import log
from messaging.core.errors import BadSignature, ContentRefused, NotAccepted
from messaging.core.messages import Outgoing, WorkflowOptions
from messaging.models import DeliveryState, ForeignArrival, Message, Workflow
from messaging.receiving.inbox.arriving import Arrival, refuse_unless_current
from messaging.security.access.holding import holding_policy
from messaging.security.content.loading import get_sanitizer
from messaging.security.encryption.payloads import must_be_encrypted
from messaging.security.signatures.foreign import find_senders
from messaging.sending import outbox
from messaging.workflows import life_cycle as workflows


def store_arrivals(arrivals: Sequence[Arrival]) -> int:
    """Store events; what was stored before is left out. Returns how many are new.

    Args:
        arrivals: in the order in which they are to be numbered.

    Raises:
        NotAccepted, BadSignature, SendError, EnvelopeError: one of them is refused; nothing was stored.
        ConfigurationError, SchemaError, SigningKeyError: nothing can be stored at the moment.
        django.db.Error: the database failed.
    """
    with transaction.atomic(), holding_policy():
        senders = find_senders({arrival.sender.name for arrival in arrivals}, lock=True)
        for arrival in arrivals:
            if arrival.sender.name not in senders:
                raise BadSignature(f"The program {arrival.sender.name!r} is registered no more.")
            refuse_unless_current(senders[arrival.sender.name])
        fresh = _fresh(arrivals)
        if not fresh:
            return 0
        for arrival in fresh:
            _refuse_unclean(arrival)
        found = _workflows(fresh)
        _check_causes(fresh, found)
        stored = outbox.send([_outgoing(arrival, found[arrival.key]) for arrival in fresh])
        now = timezone.now()
        ForeignArrival.objects.bulk_create(
            ForeignArrival(
                sender_id=arrival.sender.name,
                event_id=arrival.event.id,
                message_id=receipt.id,
                digest=arrival.digest,
                body=arrival.message.body,
                signature=arrival.signature,
                received_at=now,
            )
            for arrival, receipt in zip(fresh, stored.receipts, strict=True)
        )
        # There is no publisher behind this: the relay publishes them in its next turn, which follows at once.
        log.reschedule([delivery.id for delivery in stored.deliveries], DeliveryState.PENDING, now)
    return len(fresh)


def _fresh(arrivals: Sequence[Arrival]) -> list[Arrival]:
    """Leave out what was stored before, or stands here twice. The senders' rows are locked: nobody adds any."""
    rows = ForeignArrival.objects.filter(
        sender__in={arrival.sender.name for arrival in arrivals},
        event_id__in={arrival.event.id for arrival in arrivals},
    ).values_list("sender_id", "event_id", "digest")
    known = {(sender, event): digest for sender, event, digest in rows}
    fresh = []
    for arrival in arrivals:
        digest = known.setdefault(arrival.key, "")
        if not digest:
            known[arrival.key] = arrival.digest
            fresh.append(arrival)
        elif digest != arrival.digest:
            raise NotAccepted(
                f"The program {arrival.sender.name!r} has sent another event with the id {arrival.event.id!r}. A new "
                "event needs an id of its own."
            )
    return fresh


def _refuse_unclean(arrival: Arrival) -> None:
    """Signed bytes are kept and never rewritten: what would have to be cleaned, or encrypted, is refused."""
    event = arrival.event
    if must_be_encrypted(event.type):
        raise NotAccepted(
            f"Messages of type {event.type!r} are encrypted (NEXUS_ENCRYPTED_TYPES), and what programs outside sign is "
            "kept in clear. Have it send another type, from which an agent makes this one."
        )
    cleaned = get_sanitizer().clean(event.type, event.data)
    if cleaned.refusals or cleaned.data is not event.data:
        raise ContentRefused(event.type, tuple(str(found) for found in (*cleaned.refusals, *cleaned.changes)))


def _workflows(arrivals: Sequence[Arrival]) -> dict[tuple[str, str], UUID]:
    """The workflow of each event. A program's names are its own: those of another one are other workflows."""
    keys = {arrival.key: _workflow_key(arrival) for arrival in arrivals if isinstance(arrival.event.workflow, str)}
    rows = Workflow.objects.filter(deduplication_id__in=set(keys.values())) if keys else ()
    known = {str(row.deduplication_id): row.pk for row in rows}
    found: dict[tuple[str, str], UUID] = {}
    for arrival in arrivals:
        if isinstance(arrival.event.workflow, UUID):
            found[arrival.key] = arrival.event.workflow  # the outbox refuses an unknown one
            continue
        key = keys[arrival.key]
        if key not in known:
            known[key] = _start(arrival, key)
        found[arrival.key] = known[key]
    return found


def _start(arrival: Arrival, key: str) -> UUID:
    if not arrival.sender.starts_workflows:
        raise NotAccepted(
            f"The program {arrival.sender.name!r} may start no workflow, and none is named {arrival.event.workflow!r} "
            f"for it. Start it first: bus.start_workflow(…, deduplication_id={key!r})."
        )
    return workflows.start(
        WorkflowOptions(name=f"{arrival.sender.name}: {arrival.event.workflow}", deduplication_id=key)
    )


def _workflow_key(arrival: Arrival) -> str:
    return f"foreign/{arrival.sender.name}/{arrival.event.workflow}"


def _check_causes(arrivals: Sequence[Arrival], found: dict[tuple[str, str], UUID]) -> None:
    """A cause must be a message of the same workflow: a program outside proves nothing about others."""
    causes = {arrival.event.causation_id for arrival in arrivals if arrival.event.causation_id is not None}
    if not causes:
        return
    known = dict(Message.objects.filter(pk__in=causes).values_list("pk", "workflow_id"))
    for arrival in arrivals:
        cause = arrival.event.causation_id
        if cause is not None and known.get(cause) != found[arrival.key]:
            raise NotAccepted(f"Its causationid {cause} is no message of its workflow {found[arrival.key]}.")


def _outgoing(arrival: Arrival, workflow: UUID) -> Outgoing:
    event = arrival.event
    expires_in = None
    if event.expires_at is not None:
        expires_in = max(0.0, (event.expires_at - timezone.now()).total_seconds())
    return Outgoing(
        workflow_id=workflow,
        source=event.source,
        recipient=event.recipient,
        type=event.type,
        data=event.data,
        causation_id=event.causation_id,
        expires_in=expires_in,
    )
