"""Forking a workflow: a second one whose log begins like the first one's, and goes on by itself from there.

The fork stands where the workflow stood right behind the message it is forked after. What had been handled by then
counts as handled; everything else is handled anew, in order. A copy has an id of its own, the same number, position,
time, data and labels, and is signed anew under the fork's id. Nothing forged gets a good signature that way: what is
not authentic in the log is not copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from messaging import log
from messaging.conf import get_settings
from messaging.core.describing import storable
from messaging.core.envelope import build_envelope
from messaging.core.errors import ForkRefused
from messaging.core.ids import MAX_DELIVERIES, delivery_id, new_message_id, uuid7
from messaging.models import (
    AgentState,
    Delivery,
    DeliveryState,
    EndorsementKind,
    LabelEndorsement,
    Mailbox,
    Message,
    Workflow,
    WorkflowStatus,
)
from messaging.operators.acts import Actor, record
from messaging.operators.exporting import messages_in_parts
from messaging.operators.fork_point import ForkPoint, find_fork_point, parse_or_refuse
from messaging.operators.verifying import verify_message
from messaging.security.signatures import keys
from messaging.security.signatures.routing import routing_digest
from messaging.security.signatures.trees import Leaf
from messaging.workflows import life_cycle

CHUNK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """What was made.

    Args:
        workflow: id of the fork.
        after: number of the last message that was copied.
        waiting: deliveries that are handled anew.
        without_state: agents whose ``context.state`` at that point is not known any more; they begin with an empty one.
    """

    workflow: UUID
    after: int
    waiting: int
    without_state: tuple[str, ...]


def fork(workflow_id: UUID, *, after: int, actor: Actor | None = None, reason: str = "", run: bool = False) -> Fork:
    """Start a workflow that begins with the messages of another one, which stays as it is.

    Args:
        workflow_id: any workflow, ended or not.
        after: number of the last message that is taken over. What was sent together with it, by one handling, is taken
            over too: its handler is not called again.
        actor: who does so; it is written down as the act of this person.
        reason: for whoever looks at it later.
        run: let it go on at once; otherwise it is paused until somebody resumes it.

    Raises:
        UnknownWorkflow: there is none with that id.
        ForkRefused: there is no such message, the log does not have all before it or what it has is not authentic, it
            is too long, or an agent takes part that keeps its state elsewhere. Nothing is changed.
        SendError: this process may not sign for a sender.
        SigningKeyError: it cannot sign.
    """
    with transaction.atomic():
        source = life_cycle.lock(workflow_id)  # for as long as it takes to read how it stands
        point = find_fork_point(source, after)
    signer = keys.signing()
    if signer is not None:
        signer.check_senders(set(_messages(source, point.last).values_list("source", flat=True).distinct()))
    with transaction.atomic():
        target = _start(source, point.last, "" if actor is None else str(actor), reason, run=run)
        copier = _Copier(source, target, point, signer)
        copier.copy()
        if actor is not None:
            made = {"fork": str(target.pk), "after": point.last}
            record(actor, "fork", Workflow, source.pk, reason=reason, after=made)
            begun = {"forked_from": str(source.pk), "after": point.last, "status": target.status}
            record(actor, "begin as a fork", Workflow, target.pk, reason=reason, after=begun)
    return Fork(
        workflow=target.pk, after=point.last, waiting=copier.waiting, without_state=tuple(sorted(point.without_state))
    )


def _messages(source: Workflow, last: int) -> QuerySet[Message]:
    return Message.objects.filter(workflow=source, sequence__lte=last)


def _start(source: Workflow, last: int, user: str, reason: str, *, run: bool) -> Workflow:
    now = timezone.now()
    by = f" by {user}" if user else ""
    why = f"forked from {source.pk} after #{last}{by}" + (f": {reason}" if reason else "")
    return Workflow.objects.create(
        id=uuid7(),
        name=f"{source.name[:160]} (fork after {last})",
        status=WorkflowStatus.RUNNING if run else WorkflowStatus.PAUSED,
        status_reason=storable(why),
        sequence=last,
        max_messages=source.max_messages,
        deadline_at=None if source.deadline_at is None else now + (source.deadline_at - source.created_at),
        failure_policy=source.failure_policy,
        gap_policy=source.gap_policy,
        idle_timeout=source.idle_timeout,
        idle_policy=source.idle_policy,
        idle_look_at=None if source.idle_timeout is None else now + timedelta(seconds=source.idle_timeout),
    )


class _Copier:
    """Writes the fork's rows, in the transaction that is open."""

    def __init__(self, source: Workflow, target: Workflow, point: ForkPoint, signer: keys.MessageSigner | None) -> None:
        self._source, self._target, self._point, self._signer = source, target, point, signer
        self._ring = None if signer is None else keys.verifying()
        self._now = timezone.now()
        self._new_ids: dict[UUID, UUID] = {}
        self._max_bytes = get_settings().max_message_bytes
        running = target.status == WorkflowStatus.RUNNING
        self._open_state = DeliveryState.PENDING if running else DeliveryState.HELD
        wait = 0.0 if running else get_settings().gap_timeout
        self._available_at = self._now + timedelta(seconds=wait)
        self.waiting = 0

    def copy(self) -> None:
        """Copy mailboxes, messages with their deliveries, what people decided of labels, and what agents remember."""
        mailboxes = self._copy_mailboxes()
        for some in messages_in_parts(_messages(self._source, self._point.last)):
            self._copy_messages(some, mailboxes)
            self._copy_endorsements([message.pk for message in some])
        AgentState.objects.bulk_create(
            [
                AgentState(workflow=self._target, agent=row.agent, data=row.data, changed_at=row.changed_at)
                for row in self._point.states
            ],
            CHUNK,
        )

    def _copy_mailboxes(self) -> dict[str, int]:
        """Agent → id. What an agent remembers of labels is never less than what it remembers in the source."""
        sent: dict[str, int] = {}
        for deliveries in self._point.deliveries.values():
            for delivery in deliveries:
                sent[delivery.agent] = max(delivery.position, sent.get(delivery.agent, 0))
        made = Mailbox.objects.bulk_create(
            [
                Mailbox(
                    workflow=self._target,
                    agent=agent,
                    sent=sent[agent],
                    processed=handled,
                    labels=self._point.mailboxes[agent].labels if handled else None,
                )
                for agent, handled in sorted(self._point.handled.items())
            ],
            CHUNK,
        )
        return {row.agent: row.pk for row in made}

    def _copy_messages(self, messages: Sequence[Message], mailboxes: dict[str, int]) -> None:
        new_messages: list[log.NewMessage] = []
        to_sign: list[Leaf] = []
        new_deliveries = []
        for message in messages:
            if self._ring is not None and (problems := verify_message(message, self._ring)):
                raise ForkRefused(
                    f"Message #{message.sequence} ({message.pk}) is not authentic and is not signed anew: {problems[0]}"
                )
            deliveries = self._point.deliveries.get(message.pk, [])
            deliveries.sort(key=lambda delivery: delivery.pk)
            copied, to = self._message(message, deliveries)
            new_messages.append(copied)
            to_sign.append((copied.envelope, to))
            new_deliveries += [self._delivery(row, copied.id, mailboxes[row.agent]) for row in deliveries]
        if self._signer is not None:
            signatures = self._signer.sign_all(to_sign)
            new_messages = [
                row._replace(signature=signature) for row, signature in zip(new_messages, signatures, strict=True)
            ]
        log.insert_messages(new_messages, new_deliveries)

    def _message(self, message: Message, deliveries: Sequence[Delivery]) -> tuple[log.NewMessage, str]:
        """The row, which is not signed yet, and the digest of its routing, if it is a group's."""
        old = parse_or_refuse(message)
        identifier = self._new_ids[message.pk] = new_message_id()
        correlation = self._translated(old.correlationid)
        body = build_envelope(
            message_id=identifier,
            workflow_id=self._target.pk,
            source=old.source,
            recipient=old.subject,
            type=old.type,
            data=old.data,
            sequence=old.sequence_number,
            position=old.position,
            time=old.time,
            causation_id=self._translated(old.causationid),
            correlation_id=correlation,
            data_schema=old.dataschema,
            trace_parent=old.traceparent,
            expiry_time=old.expirytime,
            labels=old.labels,
            data_content_type=old.datacontenttype,
            max_bytes=max(self._max_bytes, len(message.envelope)),
        )
        to = routing_digest((row.agent, row.position) for row in deliveries) if old.position is None else ""
        copied = log.NewMessage(
            id=identifier,
            workflow_id=self._target.pk,
            sequence=message.sequence,
            type=message.type,
            source=message.source,
            subject=message.subject,
            envelope=body,
            signature="",
            correlation_id=correlation,
            deduplication_id=message.deduplication_id,
            created_at=message.created_at,
        )
        return copied, to

    def _translated(self, identifier: UUID | None) -> UUID | None:
        """What an id of the source is in the fork; others stay."""
        return None if identifier is None else self._new_ids.get(identifier, identifier)

    def _delivery(self, row: Delivery, message: UUID, mailbox: int) -> log.NewDelivery:
        done = row.position <= self._point.handled[row.agent]
        self.waiting += not done
        state = DeliveryState.CANCELLED if row.state == DeliveryState.DEAD else DeliveryState(row.state)
        return log.NewDelivery(
            id=delivery_id(message, row.pk.int & MAX_DELIVERIES),
            message_id=message,
            workflow_id=self._target.pk,
            mailbox_id=mailbox,
            agent=row.agent,
            position=row.position,
            queue=row.queue,
            state=(state if done else self._open_state).value,
            attempts=row.attempts if done else 0,
            redeliveries=0,
            available_at=self._now if done else self._available_at,
            settled_at=row.settled_at if done else None,
            last_error="",
        )

    def _copy_endorsements(self, messages: Sequence[UUID]) -> None:
        """What people and extractions lowered stays lowered. An approval was for one handling: it is asked for anew."""
        acts = LabelEndorsement.objects.filter(message_id__in=messages).exclude(kind=EndorsementKind.APPROVAL)
        copied = [
            (self._new_ids[act.message_id], act.kind, act.who, act.reason, act.before, act.after, act.at)
            for act in acts.order_by("pk")
        ]
        if copied:
            log.insert_endorsements(copied)
