"""Where a workflow stood behind one of its messages: what had been handled by then, and what agents remembered."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from messaging.core.envelope import Envelope
from messaging.core.errors import EnvelopeError, ForkRefused
from messaging.core.ids import message_id_of
from messaging.models import FINAL_STATES, AgentState, Delivery, DeliveryState, Mailbox, Message, Workflow
from messaging.security.labels.tracing import parse_stored
from messaging.transactions.hosting import COORDINATOR
from messaging.transactions.two_phase.naming import COORDINATOR as TWO_PHASE_COORDINATOR

MAX_MESSAGES = 20_000
MAX_COPIED_DELIVERIES = 100_000
LOOK_AHEAD = 1_000
"""Messages behind the fork that are read to learn what had not been handled yet."""
CHUNK = 200

_owners: dict[str, str] = {
    COORDINATOR: "it runs a saga, whose state is outside its log",
    TWO_PHASE_COORDINATOR: "it runs a two-phase commit, whose state is outside its log",
}


def refuse_forks_with(agent: str, advice: str) -> None:
    """Have no workflow forked in which an agent takes part that keeps a state outside the log.

    Args:
        agent: its name.
        advice: why, and what to do instead, such as "it is a chat: fork it with the manager's fork()".
    """
    _owners[agent] = advice


@dataclass(slots=True)
class ForkPoint:
    """A workflow as it stood behind one of its messages.

    Args:
        last: number of the message.
        mailboxes: by agent.
        handled: agent → position up to which everything had been handled.
        deliveries: message → its deliveries.
        states: agent → ``context.state``, where it is still the one of then.
        without_state: agents that have another one since.
    """

    last: int
    mailboxes: dict[str, Mailbox] = field(default_factory=dict)
    handled: dict[str, int] = field(default_factory=dict)
    deliveries: dict[UUID, list[Delivery]] = field(default_factory=lambda: defaultdict(list))
    states: list[AgentState] = field(default_factory=list)
    without_state: list[str] = field(default_factory=list)


def find_fork_point(source: Workflow, after: int) -> ForkPoint:
    """How a workflow stood behind a message. Call it under the workflow's lock.

    Args:
        source: the workflow.
        after: number of the message; what was sent together with it is counted in.

    Raises:
        ForkRefused: see ``forking.fork``.
    """
    if not Message.objects.filter(workflow=source, sequence=after).exists():
        raise ForkRefused(
            f"Workflow {source.pk} has no message #{after}; its messages are numbered from 1 to {source.sequence}."
        )
    causes: dict[tuple[UUID, str], list[int]] = defaultdict(list)
    last, cut_at, expected = after, source.created_at, 1
    ids: set[UUID] = set()
    ahead = Message.objects.filter(workflow=source, sequence__lte=after + LOOK_AHEAD).order_by("sequence")
    previous: tuple[UUID | None, str] = (None, "")
    for message in ahead.only("id", "sequence", "source", "envelope", "created_at").iterator(CHUNK):
        cause = parse_or_refuse(message).causationid
        if message.sequence <= after or (cause is not None and message.sequence == last + 1
                                         and (cause, message.source) == previous):  # fmt: skip
            if message.sequence != expected:
                raise ForkRefused(
                    f"Workflow {source.pk} has no message #{expected} any more: what is not whole cannot be forked."
                )
            expected += 1
            last, cut_at, previous = message.sequence, message.created_at, (cause, message.source)
            ids.add(message.pk)
        if last > MAX_MESSAGES:
            raise ForkRefused(f"Message #{last} is too far: a fork copies at most {MAX_MESSAGES} messages.")
        if cause is not None:
            causes[cause, message.source].append(message.sequence)
    point = ForkPoint(last)
    _stand_of_mailboxes(source, point, ids, causes, cut_at)
    return point


def _stand_of_mailboxes(
    source: Workflow,
    point: ForkPoint,
    ids: set[UUID],
    causes: dict[tuple[UUID, str], list[int]],
    cut_at: datetime,
) -> None:
    mailboxes = {row.pk: row for row in Mailbox.objects.filter(workflow=source)}
    for row in mailboxes.values():
        if row.agent in _owners:
            raise ForkRefused(f"Workflow {source.pk} cannot be forked: {row.agent} takes part, {_owners[row.agent]}.")
    found = Delivery.objects.filter(mailbox__workflow=source).order_by("mailbox_id", "position")
    stopped: set[str] = set()
    count = 0
    for delivery in found.defer("last_error").iterator(CHUNK):
        message = message_id_of(delivery.pk)
        if message not in ids:
            continue
        count += 1
        if count > MAX_COPIED_DELIVERIES:
            raise ForkRefused(f"A fork copies at most {MAX_COPIED_DELIVERIES} deliveries; this one would have more.")
        point.deliveries[message].append(delivery)
        agent = delivery.agent
        point.mailboxes[agent] = mailboxes[delivery.mailbox_id]
        point.handled.setdefault(agent, 0)
        if delivery.position > mailboxes[delivery.mailbox_id].processed:
            stopped.add(agent)
        if agent in stopped or not _is_done(delivery):
            stopped.add(agent)
            continue
        caused = causes.get((message, agent), [])
        before = bool(caused) and min(caused) <= point.last
        earlier = delivery.settled_at is not None and delivery.settled_at <= cut_at and not caused
        if before or earlier:
            point.handled[agent] = delivery.position
    for state in AgentState.objects.filter(workflow=source, agent__in=list(point.handled)):
        if point.handled[state.agent] == point.mailboxes[state.agent].processed:
            point.states.append(state)
        else:
            point.without_state.append(state.agent)


def _is_done(delivery: Delivery) -> bool:
    """Whether the mailbox went on behind it; a dead one was left out then."""
    return delivery.state in FINAL_STATES or delivery.state == DeliveryState.DEAD


def parse_or_refuse(message: Message) -> Envelope:
    """The envelope of a message that is to be copied.

    Raises:
        ForkRefused: it cannot be read.
    """
    try:
        return parse_stored(bytes(message.envelope))
    except EnvelopeError as error:
        raise ForkRefused(f"Message #{message.sequence} ({message.pk}) cannot be read: {error}") from error
