"""Workflows in memory, and accepting messages into them: what the outbox is for the durable bus."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from django.utils import timezone

from messaging.conf import get_settings
from messaging.core.envelope import Envelope, build_envelope, parse_envelope
from messaging.core.errors import WorkflowClosed
from messaging.core.ids import new_message_id
from messaging.core.labels import NO_LABELS, Labels
from messaging.core.message_spans import creating
from messaging.core.messages import Outgoing, SentMessage
from messaging.core.registry import AgentSpec
from messaging.directory.names import Recipient
from messaging.gate.draft import Backlog, Draft
from messaging.gate.sending import admit_drafts, admit_numbered
from messaging.gate.steps.limits import unknown_workflow
from messaging.log import WorkflowRow
from messaging.models import OPEN_STATUSES, WorkflowStatus
from messaging.security.access.holding import Decider
from messaging.security.schemas.current import CurrentSchemas
from messaging.security.schemas.validation import SchemaChecker
from messaging.sending.duplicates import fresh_drafts

OwnKey = tuple[str, str]
"""(sender, deduplication id)"""


@dataclass(slots=True)
class MemoryWorkflow:
    """A workflow of the in-process bus.

    Args:
        row: its status, counter and limits.
        deduplication_id: what it was started with.
        sent, processed: counters of each agent's mailbox.
        first: messages by their deduplication ids.
    """

    row: WorkflowRow
    deduplication_id: str | None = None
    sent: dict[str, int] = field(default_factory=dict)
    processed: dict[str, int] = field(default_factory=dict)
    first: dict[OwnKey, SentMessage] = field(default_factory=dict)

    def change(self, status: WorkflowStatus, allowed: tuple[WorkflowStatus, ...]) -> None:
        """Change the status.

        Raises:
            WorkflowClosed: it cannot become that from what it is.
        """
        if self.row.status != status and self.row.status not in allowed:
            raise WorkflowClosed(f"Workflow {self.row.id} is {self.row.status} and cannot become {status.value}.")
        self.row.status = status.value

    def runs_at(self, now: datetime) -> bool:
        """Whether its messages are handled; one whose deadline has passed expires here."""
        if self.row.status in OPEN_STATUSES and self.row.deadline_at is not None and self.row.deadline_at <= now:
            self.row.status = WorkflowStatus.EXPIRED.value
        return self.row.status == WorkflowStatus.RUNNING

    def count_processed(self, agent: str) -> None:
        self.processed[agent] = self.processed.get(agent, 0) + 1


@dataclass(frozen=True, slots=True)
class Accepted:
    """A message that was sent: its receipt, its bytes and who gets it; or what is to be sent later."""

    receipt: SentMessage
    body: bytes = b""
    recipients: tuple[Recipient, ...] = ()
    correlation_id: UUID | None = None
    later: Outgoing | None = None
    labels: Labels = NO_LABELS


class House(Protocol):
    """What accepting asks of the bus."""

    schemas: CurrentSchemas
    decider: Decider | None

    def resolve(self, name: str, *, sender: str) -> list[Recipient]:
        """See ``messaging.gate.draft.Ground``."""

    def agent(self, name: str) -> AgentSpec | None:
        """See ``messaging.gate.draft.Ground``."""

    def labels_of(self, message_ids: Collection[UUID]) -> Mapping[UUID, Labels]:
        """See ``messaging.gate.draft.Ground``."""


@dataclass(slots=True)
class _Ground:
    workflows: Mapping[UUID, MemoryWorkflow]
    house: House
    last_word: bool

    def resolve(self, name: str, *, sender: str) -> list[Recipient]:
        return self.house.resolve(name, sender=sender)

    def agent(self, name: str) -> AgentSpec | None:
        return self.house.agent(name)

    def labels_of(self, message_ids: Collection[UUID]) -> Mapping[UUID, Labels]:
        return self.house.labels_of(message_ids)

    def checker(self) -> SchemaChecker:
        return self.house.schemas.checker()

    def decider(self) -> Decider | None:
        return self.house.decider

    def workflow(self, identifier: UUID) -> WorkflowRow | None:
        found = self.workflows.get(identifier)
        if found is None:
            return None
        return replace(found.row, status=WorkflowStatus.RUNNING.value) if self.last_word else found.row


def accept(
    outgoing: Sequence[Outgoing],
    workflows: Mapping[UUID, MemoryWorkflow],
    house: House,
    *,
    last_word: bool = False,
) -> list[Accepted]:
    """Accept messages: all of them, or none.

    Args:
        outgoing: in the order in which they are to be numbered.
        workflows: all there are; counters are advanced.
        house: the bus.
        last_word: they come from a handler, which may have ended its workflow.

    Raises:
        SendError, EnvelopeError: one of them may not be sent.
    """
    known = {
        (key, *first): receipt
        for key in {message.workflow_id for message in outgoing} & workflows.keys()
        for first, receipt in workflows[key].first.items()
    }
    drafts = fresh_drafts(outgoing, known)
    ground = _Ground(workflows, house, last_word)
    admit_drafts(list(drafts.values()), ground)
    for draft in drafts.values():
        if draft.outgoing.workflow_id not in workflows:
            raise unknown_workflow(draft.outgoing.workflow_id)
    touched = {draft.outgoing.workflow_id for draft in drafts.values()}
    sequences = {key: workflows[key].row.sequence for key in touched}
    sent = {key: dict(workflows[key].sent) for key in touched}
    accepted: list[Accepted] = []
    for number, message in enumerate(outgoing):
        name = (message.workflow_id, message.source, message.deduplication_id or "")
        if number not in drafts:
            accepted.append(Accepted(replace(known[name], duplicate=True)))
            continue
        if message.is_timer:
            accepted.append(_keep(drafts[number]))
            known[name] = accepted[-1].receipt
            continue
        mailboxes = sent[message.workflow_id]
        for recipient in drafts[number].recipients:
            mailboxes[recipient.agent] = mailboxes.get(recipient.agent, 0) + 1
        sequences[message.workflow_id] += 1
        one = _build(drafts[number], sequences[message.workflow_id], mailboxes)
        accepted.append(one)
        if message.deduplication_id is not None:
            known[name] = one.receipt
    admit_numbered(
        list(drafts.values()),
        ground,
        (
            Backlog(key, agent, count - workflows[key].processed.get(agent, 0))
            for key, mailboxes in sent.items()
            for agent, count in mailboxes.items()
        ),
    )
    # Nothing was refused.
    for key in touched:
        workflows[key].row.sequence, workflows[key].sent = sequences[key], sent[key]
    for number, draft in drafts.items():
        if draft.outgoing.deduplication_id is not None:
            first = (draft.outgoing.source, draft.outgoing.deduplication_id)
            workflows[draft.outgoing.workflow_id].first[first] = accepted[number].receipt
    return accepted


def _keep(draft: Draft) -> Accepted:
    """A message that is sent later. What it is sent with is looked at now, and written anew when it is due."""
    message, now = draft.outgoing, timezone.now()
    due_at = message.due_at(now)
    one = _build(Draft(message, labels=draft.labels), 1, {message.recipient: 1})
    receipt = SentMessage(id=one.receipt.id, workflow_id=message.workflow_id, sequence=0, due_at=due_at)
    return Accepted(receipt, b"", (), None, replace(message, delay=None, at=None, inherited=draft.labels))


def _build(draft: Draft, sequence: int, mailboxes: Mapping[str, int]) -> Accepted:
    message, recipients = draft.outgoing, draft.recipients
    identifier, now = new_message_id(), timezone.now()
    direct = len(recipients) == 1 and recipients[0].agent == message.recipient
    span = creating(message, identifier)
    body = build_envelope(
        message_id=identifier,
        workflow_id=message.workflow_id,
        source=message.source,
        recipient=message.recipient,
        type=message.type,
        data=message.data,
        sequence=sequence,
        position=mailboxes[message.recipient] if direct else None,
        time=now,
        causation_id=message.causation_id,
        correlation_id=message.correlation_id,
        data_schema=draft.data_schema,
        trace_parent=span.traceparent or None,
        labels=str(draft.labels) if draft.labels else None,
        expiry_time=None if message.expires_in is None else now + timedelta(seconds=message.expires_in),
        max_bytes=get_settings().max_message_bytes,
    )
    span.end()
    receipt = SentMessage(id=identifier, workflow_id=message.workflow_id, sequence=sequence)
    return Accepted(receipt, body, tuple(recipients), message.correlation_id, labels=draft.labels)


def read_accepted(accepted: Accepted) -> Envelope:
    """Parsed, so that a handler gets the same plain data here as it would from another process."""
    return parse_envelope(accepted.body, max_bytes=get_settings().max_message_bytes)


def expired(envelope: Envelope, now: datetime) -> bool:
    """Whether a message came too late."""
    return envelope.expirytime is not None and envelope.expirytime < now
