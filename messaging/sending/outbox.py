"""The outbox: number messages, build their envelopes and store them in the transaction that is open.

Nothing here touches the broker. The caller publishes what ``store`` returns after its commit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from django.utils import timezone

from messaging import log
from messaging.core.messages import Outgoing, SentMessage
from messaging.gate.draft import Backlog, Draft
from messaging.gate.sending import admit_drafts, admit_numbered
from messaging.gate.steps.limits import unknown_workflow
from messaging.models import Message
from messaging.security.encryption.keys import encrypting
from messaging.security.encryption.payloads import must_be_encrypted
from messaging.security.signatures.keys import MessageSigner, signing
from messaging.sending.duplicates import DeduplicationKey, deduplication_key, fresh_drafts
from messaging.sending.ground import DatabaseGround, OneRecipientGround
from messaging.sending.later import first_timers, keep
from messaging.sending.mailboxes import Mailboxes
from messaging.sending.writing import Writer


@dataclass(slots=True)
class Stored:
    """What ``store`` did.

    Args:
        receipts: one for each outgoing message, in their order.
        deliveries: what is to be published after the commit.
    """

    receipts: list[SentMessage]
    deliveries: list[log.StoredDelivery]


@dataclass(slots=True)
class Burst:
    """What ``make`` made: numbered and signed, but not inserted yet.

    Args:
        receipts, deliveries: see ``Stored``.
        messages, delivery_rows: to be inserted in the same transaction.
        mailboxes: of its recipients, after counting.
    """

    receipts: list[SentMessage] = field(default_factory=list)
    deliveries: list[log.StoredDelivery] = field(default_factory=list)
    messages: list[log.NewMessage] = field(default_factory=list)
    delivery_rows: list[log.NewDelivery] = field(default_factory=list)
    mailboxes: Mapping[tuple[UUID, str], log.MailboxRow] = field(default_factory=dict)

    def insert(self) -> Stored:
        """Insert the rows."""
        if self.messages:
            log.insert_messages(self.messages, self.delivery_rows)
        return Stored(self.receipts, self.deliveries)


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


def count_per_mailbox(drafts: Iterable[Draft]) -> dict[tuple[UUID, str], tuple[int, int]]:
    sent: Counter[tuple[UUID, str]] = Counter()
    without_handler = set()
    for draft in drafts:
        for recipient in draft.recipients:
            key = (draft.outgoing.workflow_id, recipient.agent)
            sent[key] += 1
            if recipient.kind is None:
                without_handler.add(key)
    return {key: (count, count if key in without_handler else 0) for key, count in sent.items()}


def is_numbered_at_once(outgoing: Sequence[Outgoing]) -> bool:
    """Whether nothing has to be looked up with their workflow locked before they are numbered."""
    first = outgoing[0].workflow_id
    return all(
        message.workflow_id == first and message.deduplication_id is None and not message.is_timer
        for message in outgoing
    )


def send(outgoing: Sequence[Outgoing]) -> Stored:
    """Number and store messages in the transaction that is open; nobody has locked their workflows yet.

    Args:
        outgoing: in the order in which they are to be numbered.

    Raises:
        SendError, EnvelopeError: see ``store``.
    """
    if not is_numbered_at_once(outgoing):
        locked = log.lock_workflows({message.workflow_id for message in outgoing}, wait=True)
        stored = store(outgoing, locked)
        log.save_sequences(locked.values())
        return stored
    drafts = {number: Draft(message) for number, message in enumerate(outgoing)}
    admit_drafts(list(drafts.values()), DatabaseGround({}))
    signer = choose_keys(drafts.values())
    counts = count_per_mailbox(drafts.values())
    workflow, mailboxes = log.number_messages(outgoing[0].workflow_id, len(outgoing), counts)
    workflows = {} if workflow is None else {workflow.id: workflow}
    return make_numbered(outgoing, drafts, workflows, mailboxes, counts, signer).insert()


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
    return make(outgoing, workflows).insert()


def make(
    outgoing: Sequence[Outgoing],
    workflows: Mapping[UUID, log.WorkflowRow],
    mailboxes: Mailboxes | None = None,
) -> Burst:
    """The same, for a caller that inserts the rows itself, together with others.

    Args:
        outgoing, workflows: see ``store``.
        mailboxes: what the transaction knows of them; the caller writes what is counted there and unsaved.

    Raises:
        SendError, EnvelopeError, SigningKeyError: see ``store``.
    """
    first = _first_messages(outgoing)
    drafts = fresh_drafts(outgoing, first)
    admit_drafts(list(drafts.values()), DatabaseGround(workflows))
    for draft in drafts.values():
        if draft.outgoing.workflow_id not in workflows:
            raise unknown_workflow(draft.outgoing.workflow_id)
    signer = choose_keys(drafts.values())
    kept = {number: draft for number, draft in drafts.items() if draft.outgoing.is_timer}
    timers = dict(zip(kept, keep(list(kept.values()), timezone.now()), strict=True)) if kept else {}
    counts = count_per_mailbox(draft for number, draft in drafts.items() if number not in kept)
    counted = (mailboxes or Mailboxes()).count(counts)
    return make_numbered(outgoing, drafts, workflows, counted, counts, signer, first, timers)


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
    signer = choose_keys(drafts.values())
    mailboxes = {key: log.MailboxRow(mailbox_id, sent=position, processed=position - 1)}
    return make_numbered([outgoing], drafts, workflows, mailboxes, {key: (1, 0)}, signer).insert()


def make_numbered(
    outgoing: Sequence[Outgoing],
    drafts: Mapping[int, Draft],
    workflows: Mapping[UUID, log.WorkflowRow],
    mailboxes: Mapping[tuple[UUID, str], log.MailboxRow],
    counts: Mapping[tuple[UUID, str], tuple[int, int]],
    signer: MessageSigner | None,
    first: dict[DeduplicationKey, SentMessage] | None = None,
    timers: Mapping[int, SentMessage] | None = None,
) -> Burst:
    """Check what the counters say, build the envelopes and make the rows.

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
    writer = Writer(
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
    writer.finish()
    return Burst(receipts, writer.deliveries, writer.message_rows, writer.delivery_rows, mailboxes)


def choose_keys(drafts: Collection[Draft]) -> MessageSigner | None:
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
