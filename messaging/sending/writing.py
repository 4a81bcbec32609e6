"""Writing a burst: each message gets its places and its envelope, all are signed together, then the rows are stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import repeat
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from messaging import log
from messaging.conf import get_settings
from messaging.core.envelope import build_envelope
from messaging.core.ids import delivery_id, new_message_id
from messaging.core.message_spans import creating
from messaging.core.messages import Outgoing, SentMessage
from messaging.core.registry import WORKER_KINDS, HandlerKind
from messaging.core.tracing import Span
from messaging.gate.draft import Draft
from messaging.models import Counted, DeliveryState
from messaging.security.encryption.payloads import encrypt_data
from messaging.security.signatures.keys import MessageSigner
from messaging.security.signatures.routing import routing_digest
from messaging.sending.stored import tell_stored


class _Numbered(NamedTuple):
    """A message that only lacks its signature.

    Args:
        message, id, sequence: what it is.
        body: its envelope.
        to: the digest of its routing, if it is a group's.
        worked: its deliveries that workers handle.
        next_for: the only recipient, where nothing stands before it in the mailbox.
    """

    message: Outgoing
    id: UUID
    sequence: int
    body: bytes
    to: str
    worked: list[tuple[UUID, HandlerKind]]
    next_for: str


class Writer:
    """Collects a burst, signs it at once and makes its rows.

    Args:
        now: when it is stored.
        mailboxes: of its recipients, after counting.
        position: the last position of each mailbox before the burst; counted up.
        signer: signs it, or None.
    """

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
        self._numbered: list[_Numbered] = []
        self._extracted: list[tuple[object, ...]] = []
        self._spans: list[Span] = []
        self.deliveries: list[log.StoredDelivery] = []
        """What is to be published after the commit; known once the burst is signed."""
        self.message_rows: list[log.NewMessage] = []
        """Known once the burst is signed."""
        self.delivery_rows: list[log.NewDelivery] = []

    def add(self, draft: Draft, sequence: int) -> SentMessage:
        """Give a message its id and its places, and build its envelope.

        Args:
            draft: it has passed the gate.
            sequence: its number in the workflow.

        Raises:
            EnvelopeError: its data are no valid envelope.
        """
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
        to = ""
        if not direct and self._signer is not None:
            to = routing_digest([(recipient.agent, position[workflow_id, recipient.agent]) for recipient in recipients])
        if draft.lowered_from is not None and message.extraction is not None:
            before, after = str(draft.lowered_from), str(draft.labels)
            self._extracted.append(
                (identifier, "extraction", message.source, message.extraction.name, before, after, self._now)
            )
        worked: list[tuple[UUID, HandlerKind]] = []
        for number, recipient in enumerate(recipients, 1):
            key = (workflow_id, recipient.agent)
            delivery = delivery_id(identifier, number)
            state, due = self._first_state(recipient.kind, position[key] == self._mailboxes[key].processed + 1)
            self.delivery_rows.append(
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
                worked.append((delivery, recipient.kind))
        next_for = message.recipient if direct and (workflow_id, message.recipient) in self._in_line else ""
        self._numbered.append(_Numbered(message, identifier, sequence, body, to, worked, next_for))
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

    def finish(self) -> None:
        """Sign what was added, and write whatever belongs to it but the rows of the messages and their deliveries."""
        if self._numbered:
            self.message_rows = self._sign()
            tell_stored(row.workflow_id for row in self.message_rows)
            if self._settings.metrics == "on":
                sent = Counter(row.source for row in self.message_rows)
                log.add_tallies({log.TallyKey(Counted.SENT.value, source): count for source, count in sent.items()})
        if self._extracted:
            log.insert_endorsements(self._extracted)
        if self._spans:
            transaction.on_commit(self._end_spans, robust=True)

    def _sign(self) -> list[log.NewMessage]:
        signatures: Iterable[str] = repeat("", len(self._numbered))
        if self._signer is not None:
            signatures = self._signer.sign_all([(one.body, one.to) for one in self._numbered])
        rows = []
        for one, signature in zip(self._numbered, signatures, strict=True):
            message = one.message
            rows.append(
                log.NewMessage(
                    id=one.id,
                    workflow_id=message.workflow_id,
                    sequence=one.sequence,
                    type=message.type,
                    source=message.source,
                    subject=message.recipient,
                    envelope=one.body,
                    signature=signature,
                    correlation_id=message.correlation_id,
                    deduplication_id=message.deduplication_id,
                    created_at=self._now,
                )
            )
            self.deliveries += [
                log.StoredDelivery(
                    delivery, message.workflow_id, kind.value, one.body, signature, next_for=one.next_for
                )
                for delivery, kind in one.worked
            ]
        return rows

    def _end_spans(self) -> None:
        for span in self._spans:
            span.end()
