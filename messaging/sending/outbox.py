"""The outbox: number messages, build their envelopes and store them in the transaction that is open.

Nothing here touches the broker. The caller publishes what ``store`` returns after its commit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from messaging import log
from messaging.conf import get_settings
from messaging.core.envelope import build_envelope
from messaging.core.ids import delivery_id, new_message_id
from messaging.core.message_spans import creating
from messaging.core.messages import Outgoing, SentMessage
from messaging.core.registry import WORKER_KINDS, HandlerKind
from messaging.core.tracing import Span
from messaging.gate.draft import Backlog, Draft
from messaging.gate.sending import admit_drafts, admit_numbered
from messaging.gate.steps.limits import unknown_workflow
from messaging.models import Counted, DeliveryState, Message
from messaging.security.encryption.keys import encrypting
from messaging.security.encryption.payloads import encrypt_data, must_be_encrypted
from messaging.security.signatures.keys import MessageSigner, signing
from messaging.security.signatures.routing import routing_digest
from messaging.sending.duplicates import DeduplicationKey, deduplication_key, fresh_drafts
from messaging.sending.ground import DatabaseGround, OneRecipientGround
from messaging.sending.later import first_timers, keep
from messaging.sending.stored import tell_stored


@dataclass(slots=True)
class Stored:
    """What ``store`` did.

    Args:
        receipts: one for each outgoing message, in their order.
        deliveries: what is to be published after the commit.
    """

    receipts: list[SentMessage]
    deliveries: list[log.StoredDelivery]


def _first_messages(outgoing: Iterable[Outgoing]) -> dict[DeduplicationKey, SentMessage]:
    """Messages that were sent before with the same deduplication id.

    The workflow's lock keeps others from adding one.
    """
    wanted = [message for message in outgoing if message.deduplication_id is not None]
    if not wanted:
        return {}
    timers = first_timers(wanted)
    found = Message.objects.filter(
        workflow_id__in={message.workflow_id for message in wanted},
        deduplication_id__in={message.deduplication_id for message in wanted},
    ).values_list("workflow_id", "source", "deduplication_id", "id", "sequence")
    return timers | {
        (workflow_id, source, str(key)): SentMessage(
            id=identifier, workflow_id=workflow_id, sequence=sequence, duplicate=True
        )
        for workflow_id, source, key, identifier, sequence in found
    }


def _count_per_mailbox(drafts: Iterable[Draft]) -> dict[tuple[UUID, str], tuple[int, int]]:
    sent: Counter[tuple[UUID, str]] = Counter()
    without_handler = set()
    for draft in drafts:
        for recipient in draft.recipients:
            key = (draft.outgoing.workflow_id, recipient.agent)
            sent[key] += 1
            if recipient.kind is None:
                without_handler.add(key)
    return {key: (count, count if key in without_handler else 0) for key, count in sent.items()}


def send(outgoing: Sequence[Outgoing]) -> Stored:
    """Number and store messages in the transaction that is open; nobody has locked their workflows yet.

    Args:
        outgoing: in the order in which they are to be numbered.

    Raises:
        SendError, EnvelopeError: see ``store``.
    """
    wanted = {message.workflow_id for message in outgoing}
    if len(wanted) > 1 or any(message.deduplication_id is not None or message.is_timer for message in outgoing):
        locked = log.lock_workflows(wanted, wait=True)
        stored = store(outgoing, locked)
        log.save_sequences(locked.values())
        return stored
    drafts = {number: Draft(message) for number, message in enumerate(outgoing)}
    admit_drafts(list(drafts.values()), DatabaseGround({}))
    signer = _choose_keys(drafts.values())
    counts = _count_per_mailbox(drafts.values())
    workflow, mailboxes = log.number_messages(outgoing[0].workflow_id, len(outgoing), counts)
    workflows = {} if workflow is None else {workflow.id: workflow}
    return _store_numbered(outgoing, drafts, workflows, mailboxes, counts, signer)


def store(outgoing: Sequence[Outgoing], workflows: Mapping[UUID, log.WorkflowRow]) -> Stored:
    """Store messages in the transaction that is open, which holds the policy (``holding_policy``).

    Args:
        outgoing: in the order in which they are to be numbered.
        workflows: the locked rows of all their workflows; their ``sequence`` is advanced.

    Raises:
        SendError: unknown recipient or workflow, a closed workflow, a limit, or a sender that this process may not
            speak for. Roll back: some rows may be written.
        EnvelopeError: data that is no valid envelope.
        SigningKeyError: this process cannot use its key.
    """
    first = _first_messages(outgoing)
    drafts = fresh_drafts(outgoing, first)
    admit_drafts(list(drafts.values()), DatabaseGround(workflows))
    for draft in drafts.values():
        if draft.outgoing.workflow_id not in workflows:
            raise unknown_workflow(draft.outgoing.workflow_id)
    signer = _choose_keys(drafts.values())
    kept = {number: draft for number, draft in drafts.items() if draft.outgoing.is_timer}
    timers = dict(zip(kept, keep(list(kept.values()), timezone.now()), strict=True)) if kept else {}
    counts = _count_per_mailbox(draft for number, draft in drafts.items() if number not in kept)
    mailboxes = log.extend_mailboxes(counts) if counts else {}
    return _store_numbered(outgoing, drafts, workflows, mailboxes, counts, signer, first, timers)


def store_in_place(
    outgoing: Outgoing, workflow: log.WorkflowRow, *, agent: str, mailbox_id: int, position: int
) -> Stored:
    """Store one message for one agent at a position of its mailbox that is free, in the transaction that is open, which
    holds the policy. No mailbox is counted up.

    Args:
        outgoing: its recipient is the agent, or a group that is sent to no other member this time.
        workflow: its locked row; its ``sequence`` is advanced.
        agent, mailbox_id, position: where it is to stand.

    Raises:
        SendError, EnvelopeError, SigningKeyError: see ``store``.
    """
    workflows, key = {workflow.id: workflow}, (workflow.id, agent)
    drafts = {0: Draft(outgoing)}
    admit_drafts(list(drafts.values()), OneRecipientGround(workflows, agent))
    signer = _choose_keys(drafts.values())
    mailboxes = {key: log.MailboxRow(mailbox_id, sent=position, processed=position - 1)}
    return _store_numbered([outgoing], drafts, workflows, mailboxes, {key: (1, 0)}, signer)


def _store_numbered(
    outgoing: Sequence[Outgoing],
    drafts: Mapping[int, Draft],
    workflows: Mapping[UUID, log.WorkflowRow],
    mailboxes: Mapping[tuple[UUID, str], log.MailboxRow],
    counts: Mapping[tuple[UUID, str], tuple[int, int]],
    signer: MessageSigner | None,
    first: dict[DeduplicationKey, SentMessage] | None = None,
    timers: Mapping[int, SentMessage] | None = None,
) -> Stored:
    """Check what the counters say, build the envelopes and write the rows.

    Args:
        outgoing, workflows: see ``store``.
        drafts: what is sent now or later, by its place in the burst.
        mailboxes, counts: of the recipients, after counting.
        signer: signs them, or None.
        first: what was sent before, by its deduplication id.
        timers: what is sent later, by its place in the burst; it has no number.
    """
    admit_numbered(
        list(drafts.values()),
        DatabaseGround(workflows),
        (Backlog(*key, row.sent - row.processed) for key, row in mailboxes.items()),
    )
    known = {} if first is None else first
    writer = _Writer(
        timezone.now(), mailboxes, {key: mailboxes[key].sent - count for key, (count, _) in counts.items()}, signer
    )
    receipts = []
    for number, message in enumerate(outgoing):
        key = deduplication_key(message)
        receipt = known.get(key) if key else None
        if receipt is None:
            if timers and number in timers:
                receipt = timers[number]
            else:
                workflow = workflows[message.workflow_id]
                workflow.sequence += 1
                receipt = writer.add(drafts[number], workflow.sequence)
            if key:
                known[key] = replace(receipt, duplicate=True)
        receipts.append(receipt)
    writer.write()
    return Stored(receipts, writer.deliveries)


def _choose_keys(drafts: Collection[Draft]) -> MessageSigner | None:
    """What signs these messages, and in each what encrypts its data, if it must be; before they are numbered, so that
    nobody waits for a key under a lock of theirs.
    """
    signer = signing() if drafts else None
    if signer is not None:
        signer.check_senders({draft.outgoing.source for draft in drafts})
    for draft in drafts:
        if must_be_encrypted(draft.outgoing.type):
            draft.key = encrypting()
    return signer


class _Writer:
    """Collects the rows of a burst and writes them with one statement a table."""

    def __init__(
        self,
        now: datetime,
        mailboxes: Mapping[tuple[UUID, str], log.MailboxRow],
        position: dict[tuple[UUID, str], int],
        signer: MessageSigner | None,
    ) -> None:
        self._now = now
        self._signer = signer
        self._mailboxes = mailboxes
        self._position = position
        self._in_line = {key for key, sent in position.items() if sent == mailboxes[key].processed}
        self._settings = get_settings()
        self._publish_due = now + timedelta(seconds=self._settings.publish_grace)
        self._message_rows: list[log.NewMessage] = []
        self._extracted: list[tuple[object, ...]] = []
        self._delivery_rows: list[log.NewDelivery] = []
        self._spans: list[Span] = []
        self.deliveries: list[log.StoredDelivery] = []

    def add(self, draft: Draft, sequence: int) -> SentMessage:
        message, recipients = draft.outgoing, draft.recipients
        position = self._position
        identifier = new_message_id()
        workflow_id = message.workflow_id
        for recipient in recipients:
            position[workflow_id, recipient.agent] += 1
        direct = len(recipients) == 1 and recipients[0].agent == message.recipient
        span = creating(message, identifier)
        if span.recording:
            self._spans.append(span)
        body = build_envelope(
            message_id=identifier,
            workflow_id=workflow_id,
            source=message.source,
            recipient=message.recipient,
            type=message.type,
            data=message.data,
            sequence=sequence,
            position=position[workflow_id, message.recipient] if direct else None,
            time=self._now,
            causation_id=message.causation_id,
            correlation_id=message.correlation_id,
            data_schema=draft.data_schema,
            trace_parent=span.traceparent or None,
            labels=str(draft.labels) if draft.labels else None,
            expiry_time=None if message.expires_in is None else self._now + timedelta(seconds=message.expires_in),
            max_bytes=self._settings.max_message_bytes,
        )
        if draft.key is not None:
            body = encrypt_data(body, draft.key)
        signature = ""
        if self._signer is not None:
            places = () if direct else [(to.agent, position[workflow_id, to.agent]) for to in recipients]
            signature = self._signer.sign(body, "" if direct else routing_digest(places))
        if draft.lowered_from is not None and message.extraction is not None:
            before, after = str(draft.lowered_from), str(draft.labels)
            self._extracted.append(
                (identifier, "extraction", message.source, message.extraction.name, before, after, self._now)
            )
        self._message_rows.append(
            log.NewMessage(
                id=identifier,
                workflow_id=workflow_id,
                sequence=sequence,
                type=message.type,
                source=message.source,
                subject=message.recipient,
                envelope=body,
                signature=signature,
                correlation_id=message.correlation_id,
                deduplication_id=message.deduplication_id,
                created_at=self._now,
            )
        )
        for number, recipient in enumerate(recipients, 1):
            key = (workflow_id, recipient.agent)
            delivery = delivery_id(identifier, number)
            state, due = self._first_state(recipient.kind, position[key] == self._mailboxes[key].processed + 1)
            self._delivery_rows.append(
                log.NewDelivery(
                    id=delivery,
                    message_id=identifier,
                    workflow_id=workflow_id,
                    mailbox_id=self._mailboxes[key].id,
                    agent=recipient.agent,
                    position=position[key],
                    queue=(recipient.kind or HandlerKind.TRANSACTIONAL).value,
                    state=state.value,
                    attempts=0,
                    redeliveries=0,
                    available_at=due,
                    settled_at=self._now if recipient.kind is None else None,
                    last_error="",
                )
            )
            if recipient.kind in WORKER_KINDS:
                self.deliveries.append(
                    log.StoredDelivery(
                        delivery,
                        workflow_id,
                        recipient.kind.value,
                        body,
                        signature,
                        next_for=recipient.agent if direct and key in self._in_line else "",
                    )
                )
        return SentMessage(id=identifier, workflow_id=workflow_id, sequence=sequence)

    def _first_state(self, kind: HandlerKind | None, its_turn: bool) -> tuple[DeliveryState, datetime]:
        """A delivery's first state, and when the relay looks at it. Nobody leases what comes before its turn."""
        if kind is None:
            return DeliveryState.PROCESSED, self._publish_due
        if kind is not HandlerKind.EXTERNAL:
            return DeliveryState.PENDING, self._publish_due
        if its_turn:
            return DeliveryState.SENT, log.OFFERED
        return DeliveryState.HELD, self._now + timedelta(seconds=self._settings.gap_timeout)

    def write(self) -> None:
        if self._message_rows:
            log.insert_messages(self._message_rows, self._delivery_rows)
            tell_stored(row.workflow_id for row in self._message_rows)
            if self._settings.metrics == "on":
                sent = Counter(row.source for row in self._message_rows)
                log.add_tallies({log.TallyKey(Counted.SENT.value, source): count for source, count in sent.items()})
        if self._extracted:
            log.insert_endorsements(self._extracted)
        if self._spans:
            transaction.on_commit(self._end_spans, robust=True)

    def _end_spans(self) -> None:
        for span in self._spans:
            span.end()
