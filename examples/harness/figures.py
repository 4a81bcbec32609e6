"""What really happened, counted from facts that the handlers left behind.

A transactional agent writes a ledger row in the transaction of its handler. A leased agent's result is a message,
stored in the transaction that ends its lease. So each handling leaves one trace, and no trace is a counter of Nexus.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q

from examples.audit_team.models import LedgerEntry
from examples.audit_team.team import ANALYSTS, CLIENT, LEASED, TRANSACTIONAL
from messaging.api import Envelope
from messaging.core.envelope import parse_envelope
from messaging.core.outcome import Outcome
from messaging.models import DeadLetter, Delivery, DeliveryState, Message, WorkerStatus

_RESULTS = {"planner": "audit.total", **dict.fromkeys(ANALYSTS, "audit.result")}
"""The message that a leased agent sends exactly once for each message it handles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was counted.

    Args:
        messages: sent, counted once for each recipient.
        handled: of these, by the traces; each counts once.
        duplicates_suppressed: copies that arrived again and were not handled; from the workers' own counts, in which a
            killed worker's last second is missing.
        held: arrivals before their turn, which had to wait; counted like duplicates.
        redelivered: messages that were handed out again because a worker died or a message went missing.
        dead: dead letters.
        lost: messages without a trace that are no dead letters either.
        handled_twice: handlings beyond the first of the same message.
        out_of_order: handlings that were not the next of their agent.
    """

    messages: int
    handled: int
    duplicates_suppressed: int
    held: int
    redelivered: int
    dead: int
    lost: int
    handled_twice: int
    out_of_order: int

    def as_data(self) -> dict[str, Any]:
        return asdict(self)


def take_figures(workflow: UUID, since: datetime) -> Figures:
    """Count.

    Args:
        workflow: the audit's workflow.
        since: when the run began.
    """
    traces: dict[str, list[int]] = defaultdict(list)
    for agent, position in _traces(workflow):
        traces[agent].append(position)
    deliveries = Delivery.objects.filter(workflow=workflow)
    stored = set(deliveries.values_list("agent", "position"))
    dead = set(deliveries.filter(state=DeliveryState.DEAD).values_list("agent", "position"))
    handled = {(agent, position) for agent, positions in traces.items() for position in positions}
    outcomes: Counter[str] = Counter()
    for counts in WorkerStatus.objects.filter(started_at__gte=since).values_list("outcomes", flat=True):
        outcomes.update(counts)
    return Figures(
        messages=len(stored),
        handled=len(handled),
        duplicates_suppressed=outcomes[Outcome.DUPLICATE],
        held=outcomes[Outcome.HELD],
        redelivered=deliveries.filter(
            Q(redeliveries__gt=0) | Q(agent__in=LEASED, attempts__gt=1) | Q(agent__in=TRANSACTIONAL, attempts__gt=0)
        ).count(),
        dead=DeadLetter.objects.filter(Q(workflow=workflow) | Q(workflow=None, created_at__gte=since)).count(),
        lost=len(stored - handled - dead),
        handled_twice=sum(len(positions) - len(set(positions)) for positions in traces.values()),
        out_of_order=sum(count_out_of_order(positions) for positions in traces.values()),
    )


def count_out_of_order(positions: list[int]) -> int:
    """How many of an agent's handlings, given in the order in which they happened, did not follow the one before."""
    seen = 0
    count = 0
    for position in positions:
        if position != seen + 1:
            count += 1
        seen = max(seen, position)
    return count


def _traces(workflow: UUID) -> Iterator[tuple[str, int]]:
    """(agent, position) of every handling, in the order in which each agent did them."""
    ledger = LedgerEntry.objects.filter(workflow=workflow).order_by("id")
    yield from ledger.values_list("agent", "position")
    envelopes = [
        parse_envelope(bytes(body), max_bytes=len(body))
        for body in Message.objects.filter(workflow=workflow).order_by("sequence").values_list("envelope", flat=True)
    ]
    position_of = {envelope.message_id: envelope.position or 0 for envelope in envelopes}
    for envelope in envelopes:
        if _RESULTS.get(envelope.source) == envelope.type and envelope.causationid is not None:
            yield envelope.source, position_of[envelope.causationid]
        elif envelope.subject == CLIENT:  # the demo itself reads it, once the reporter has sent it
            yield CLIENT, envelope.position or 0


def read_answer(workflow: UUID) -> Envelope | None:
    """The reporter's message to the client, once there is one."""
    body = Message.objects.filter(workflow=workflow, subject=CLIENT).values_list("envelope", flat=True).first()
    return None if body is None else parse_envelope(bytes(body), max_bytes=len(body))
