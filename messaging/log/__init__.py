"""The statements of the hot path: each function is one statement over a whole batch.

Lock order: the workflow row, locked in the order of ids, is the only lock that anything here waits for. Whoever holds
it owns the workflow's counters, mailboxes and the states of its deliveries; the publisher's and the relay's marks touch
deliveries without it, and skip rows that are locked.
"""

from __future__ import annotations

from messaging.log.agent_states import StateKey, load_states, save_states
from messaging.log.closing import BatchWrites, HandledMeanwhile, close_batch
from messaging.log.deliveries import (
    DELIVERY_COLUMNS,
    OFFERED,
    DeliveryRow,
    NewDelivery,
    StoredDelivery,
    carried,
    delivery_ids_of,
    held_successors,
    load_deliveries,
    load_for_publishing,
    mark_sent,
    offered_to,
    reschedule,
    settle,
)
from messaging.log.labels import (
    EndorsementRow,
    insert_endorsements,
    read_endorsements,
    read_envelopes,
    save_mailbox_labels,
)
from messaging.log.mailboxes import MailboxRow, advance_mailboxes, count_sent, extend_mailboxes
from messaging.log.messages import MESSAGE_COLUMNS, NewMessage, count_messages, insert_messages
from messaging.log.numbering import MailboxCounts, number_messages
from messaging.log.once_results import find_result, save_result
from messaging.log.opening import OpenedBatch, open_batch
from messaging.log.own_transaction import OpenedSend, may_own, open_numbered, store_and_commit
from messaging.log.processed_ids import mark_processed_ids
from messaging.log.signing import NO_TOKEN, read_exemptions, read_places, read_signing_token
from messaging.log.tallies import TallyKey, add_tallies, fold_tallies
from messaging.log.timers import (
    TimerRow,
    cancel_timers,
    count_timers,
    due_timers,
    insert_timers,
    put_off_timer,
    take_timers,
    timer_attempts,
)
from messaging.log.verdicts import (
    NewVerdict,
    VerdictRow,
    count_judging,
    find_verdicts,
    save_acceptances,
    save_verdicts,
    take_back_judging,
)
from messaging.log.workflows import WorkflowRow, lock_workflows, save_sequences

__all__ = [
    "DELIVERY_COLUMNS",
    "MESSAGE_COLUMNS",
    "NO_TOKEN",
    "OFFERED",
    "BatchWrites",
    "DeliveryRow",
    "EndorsementRow",
    "HandledMeanwhile",
    "MailboxCounts",
    "MailboxRow",
    "NewDelivery",
    "NewMessage",
    "NewVerdict",
    "OpenedBatch",
    "OpenedSend",
    "StateKey",
    "StoredDelivery",
    "TallyKey",
    "TimerRow",
    "VerdictRow",
    "WorkflowRow",
    "add_tallies",
    "advance_mailboxes",
    "cancel_timers",
    "carried",
    "close_batch",
    "count_judging",
    "count_messages",
    "count_sent",
    "count_timers",
    "delivery_ids_of",
    "due_timers",
    "extend_mailboxes",
    "find_result",
    "find_verdicts",
    "fold_tallies",
    "held_successors",
    "insert_endorsements",
    "insert_messages",
    "insert_timers",
    "load_deliveries",
    "load_for_publishing",
    "load_states",
    "lock_workflows",
    "mark_processed_ids",
    "mark_sent",
    "may_own",
    "number_messages",
    "offered_to",
    "open_batch",
    "open_numbered",
    "put_off_timer",
    "read_endorsements",
    "read_envelopes",
    "read_exemptions",
    "read_places",
    "read_signing_token",
    "reschedule",
    "save_acceptances",
    "save_mailbox_labels",
    "save_result",
    "save_sequences",
    "save_states",
    "save_verdicts",
    "settle",
    "store_and_commit",
    "take_back_judging",
    "take_timers",
    "timer_attempts",
]
