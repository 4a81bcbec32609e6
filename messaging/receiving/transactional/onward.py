"""Going onward: what a handler sent to a quick agent of this worker is handled in the same transaction.

It never waited, so no broker, no lock, no second commit and no update of its row is needed. It passes the same gate, by
the bytes that are stored and signed, and it is in its mailbox's order, because its workflow is locked.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from django.utils import timezone

from messaging import log
from messaging.core.registry import HandlerKind
from messaging.directory.names import kind_elsewhere
from messaging.directory.pausing import paused_among
from messaging.gate.passage import Passage, logged_passage
from messaging.gate.receiving import admit_new
from messaging.gate.steps.inspect import judges
from messaging.receiving.local import usual_seconds
from messaging.receiving.ordering import Plan, Ready
from messaging.receiving.planning import admit_planned
from messaging.sending import outbox

MAX_CALLS = 1_000
"""Handlers that one transaction calls before it goes no further onward: what it writes at its end stays small."""


def take_new(burst: outbox.Burst, plan: Plan, opened: log.OpenedBatch, seconds: float) -> list[Ready]:
    """What can be handled now of what was just numbered. The rest is left as it is: it is published after the commit.

    Args:
        burst: not written yet.
        plan: its mailboxes' counters move on with what is taken.
        opened: what the transaction locked and read.
        seconds: what the handlers may take together, by what their agents usually take.
    """
    chosen = _quick(burst.deliveries, seconds)
    if not chosen or judges():
        return []
    now = timezone.now()
    passages = [logged_passage(stored) for stored in chosen]
    admit_new(passages)
    following = Plan(mailboxes=plan.mailboxes)
    rows = _rows_of(burst, {stored.id for stored in chosen})
    for passage in sorted(passages, key=lambda one: (rows[one.delivery_id].mailbox_id, rows[one.delivery_id].position)):
        row = rows[passage.delivery_id]
        if _goes(passage, row, plan, opened, now):
            following.take_turn(passage, row, now, opened.workflows[row.workflow_id].deadline_at)
    admit_planned(following)
    return following.ready


def _quick(deliveries: Sequence[log.StoredDelivery], seconds: float) -> list[log.StoredDelivery]:
    """Those for transactional agents of this process that are known to be quick, none of them paused."""
    chosen: list[log.StoredDelivery] = []
    for stored in deliveries:
        usual = usual_seconds(stored)
        if usual is not None and usual <= seconds:
            seconds -= usual
            chosen.append(stored)
    agents = {stored.next_for for stored in chosen}
    if not agents:
        return chosen
    others = paused_among(agents) | {
        agent for agent in agents if kind_elsewhere(agent, HandlerKind.TRANSACTIONAL) is not None
    }
    return [stored for stored in chosen if stored.next_for not in others] if others else chosen


def _rows_of(burst: outbox.Burst, chosen: Collection[UUID]) -> dict[UUID, log.DeliveryRow]:
    """Deliveries as they would be read."""
    sources = {message.id: message.source for message in burst.messages}
    rows: dict[UUID, log.DeliveryRow] = {}
    for new in burst.delivery_rows:
        if new.id in chosen:
            mailbox = burst.mailboxes[new.workflow_id, new.agent]
            rows[new.id] = log.DeliveryRow(
                id=new.id,
                workflow_id=new.workflow_id,
                mailbox_id=new.mailbox_id,
                agent=new.agent,
                position=new.position,
                state=new.state,
                attempts=new.attempts,
                lock_losses=0,
                lease_token=None,
                sent=new.position,  # nothing is held behind it
                processed=mailbox.processed,
                source=sources[new.message_id],
                labels=mailbox.labels,
            )
    return rows


def _goes(passage: Passage, row: log.DeliveryRow, plan: Plan, opened: log.OpenedBatch, now: datetime) -> bool:
    """Whether nothing speaks against handling it at once. Whatever does is dealt with once it is published."""
    if passage.stop is not None or passage.unjudged or passage.keys not in (None, opened.token):
        return False
    counter = plan.mailboxes.get(row.mailbox_id)
    done = row.processed if counter is None else counter.processed
    expiry = passage.envelope.expirytime
    return row.position == done + 1 and (expiry is None or expiry > now)
