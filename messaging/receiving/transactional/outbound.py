"""What the handlers of one transaction send: numbered and signed round by round, written together.

It is written before anybody in the transaction may look for it, at the latest at the transaction's end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from django.utils import timezone

from messaging import log
from messaging.core.errors import NexusError
from messaging.core.messages import Outgoing
from messaging.models import DeliveryState
from messaging.receiving.ordering import Counter, Ready
from messaging.receiving.transactional.calling import HandlerFailed
from messaging.sending import outbox
from messaging.sending.mailboxes import Mailboxes
from messaging.workflows.noticing import Noticed


class Outbound:
    """See the module.

    Args:
        opened: what the transaction locked and read.
        noticed: what its handlers do with the bus.
    """

    def __init__(self, opened: log.OpenedBatch, noticed: Noticed) -> None:
        self._workflows = opened.workflows
        self._noticed = noticed
        self._saved = {key: workflow.sequence for key, workflow in self._workflows.items()}
        """The workflows' counters, as the database has them."""
        self._mailboxes = Mailboxes(_known(opened))
        self._outgoing: list[Outgoing] = []
        self._senders: list[Ready] = []
        self._messages: list[log.NewMessage] = []
        self._deliveries: list[log.NewDelivery] = []
        self._published: list[log.StoredDelivery] = []
        self._handled: set[UUID] = set()
        self._written: list[UUID] = []
        """The last message of each time that something was written."""

    def take(self, sender: Ready, outgoing: Sequence[Outgoing]) -> None:
        """Take what a handler sent."""
        if outgoing:
            self._outgoing += outgoing
            self._senders.append(sender)

    def make(self, counters: Mapping[int, Counter]) -> outbox.Burst:
        """Number and sign what was taken since the last time.

        Args:
            counters: of the transaction's mailboxes, by id.

        Raises:
            HandlerFailed: of a single sender.
            NexusError: something may not be sent.
        """
        outgoing, self._outgoing = self._outgoing, []
        senders, self._senders = self._senders, []
        if not outgoing:
            return outbox.Burst()
        self._read_again(self._noticed.sent_in & self._workflows.keys())
        self._mailboxes.advance({key: counter.processed for key, counter in counters.items()})
        if any(message.deduplication_id is not None for message in outgoing):
            self.write()  # one of those that were sent before may be the same
        # A handler that ended its workflow may still say its last word: the rows in memory have the status from before.
        try:
            burst = outbox.make(outgoing, self._workflows, self._mailboxes)
        except NexusError as error:
            if len(senders) == 1:  # nobody else can be to blame
                raise HandlerFailed(senders[0], error) from error
            raise
        self._messages += burst.messages
        self._deliveries += burst.delivery_rows
        self._published += burst.deliveries
        return burst

    def _read_again(self, workflows: set[UUID]) -> None:
        """Read what a handler counted that used the bus: the counters in memory are behind."""
        if workflows:
            self._noticed.sent_in.difference_update(workflows)
            self._mailboxes.forget(workflows)
            for key, current in log.lock_workflows(workflows, wait=True).items():
                self._saved[key] = self._workflows[key].sequence = current.sequence

    @property
    def is_behind(self) -> bool:
        """Whether something that is numbered is not written yet."""
        return bool(self._messages)

    def write(self) -> None:
        """Write what is numbered, with the counters."""
        if self._messages:
            now = timezone.now()
            self._written.append(self._messages[-1].id)
            log.close_batch((), self.writes(now), now)

    def check_written(self) -> None:
        """Make sure that what was written before the end is still there.

        Raises:
            NexusError: a handler rolled it back, past Django.
        """
        if self._written and log.count_messages(self._written) < len(self._written):
            raise NexusError(
                "A handler rolled back to a savepoint that it had set past Django (connection.connection), and with it "
                "messages of others. The batch is handled again, one by one. Use transaction.atomic() in handlers."
            )

    def note_handled(self, delivery: UUID) -> None:
        """A delivery is handled in the transaction that stores it: it is stored as that."""
        self._handled.add(delivery)

    def writes(self, now: datetime) -> log.BatchWrites:
        """What is not written yet. The caller writes it.

        Args:
            now: when those were handled that are.
        """
        messages, self._messages = self._messages, []
        deliveries, self._deliveries = self._deliveries, []
        sequences = {key: row.sequence for key, row in self._workflows.items() if row.sequence != self._saved[key]}
        self._saved |= sequences
        processed = DeliveryState.PROCESSED.value
        return log.BatchWrites(
            messages,
            [row._replace(state=processed, settled_at=now) if row.id in self._handled else row for row in deliveries]
            if self._handled
            else deliveries,
            self._mailboxes.take_unsaved(),
            sequences=sequences,
        )

    @property
    def left(self) -> list[log.StoredDelivery]:
        """What is to be published after the commit."""
        return [stored for stored in self._published if stored.id not in self._handled]


def _known(opened: log.OpenedBatch) -> dict[tuple[UUID, str], log.MailboxRow]:
    """The mailboxes that were read under the lock of their workflow."""
    known: dict[tuple[UUID, str], log.MailboxRow] = {}
    for row in opened.deliveries.values():
        if row.workflow_id in opened.workflows:
            known[row.workflow_id, row.agent] = log.MailboxRow(row.mailbox_id, row.sent, row.processed, row.labels)
            if row.sender_mailbox is not None:
                known[row.workflow_id, row.source] = row.sender_mailbox
    return known
