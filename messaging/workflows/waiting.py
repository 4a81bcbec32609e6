"""Handlers that wait for one another: a request whose answer would need the handler that waits for it.

A leased handler that calls ``request`` keeps its place in its mailbox meanwhile. When whoever is to answer waits for an
answer of the same agent in the same workflow, directly or over others, nobody goes on until a timeout. So a handler
that waits for longer than a moment says so in the log, and looks whether it waits for itself; of those in a circle, the
one that asked last gives way, by the ids of the requests: whoever looks finds the same one.
"""

from __future__ import annotations

from datetime import timedelta
from time import monotonic
from typing import NamedTuple
from uuid import UUID

from django.db.models import F, Q
from django.utils import timezone

from messaging.core.context import HandlerContext
from messaging.core.errors import WaitCycle
from messaging.models import AwaitedReply, Delivery, DeliveryState

FIRST_LOOK = 1.0
"""Seconds that a handler waits before it says so: most replies have come by then."""
LOOK_EVERY = 1.0
MAX_LINKS = 100
"""Of a chain of handlers that is followed."""
FORGOTTEN_AFTER = timedelta(days=1)


class Waiting(NamedTuple):
    """A handler that waits.

    Args:
        delivery: what it handles.
        agent: which agent it is of.
        request: the message whose reply it waits for.
    """

    delivery: UUID
    agent: str
    request: UUID


class ReplyWait:
    """The wait of a handler for a reply.

    Args:
        context: of the handler; None of a program, for which nobody waits.
        request: the message whose reply it waits for.
    """

    def __init__(self, context: HandlerContext | None, request: UUID) -> None:
        self._context, self._request = context, request
        self._look_at = monotonic() + FIRST_LOOK
        self._told = False

    def look(self) -> None:
        """Say that it waits, and look whether it waits for itself, if it is time to.

        Raises:
            WaitCycle: it does, and asked last.
            django.db.Error: the database failed.
        """
        if self._context is None or monotonic() < self._look_at:
            return
        self._look_at = monotonic() + LOOK_EVERY
        if not self._told:
            self._tell(self._context)
        circle = find_circle(self._context.delivery_id, self._request)
        last = max(circle, key=lambda one: (one.request, one.delivery), default=None)
        if last is not None and (last.delivery, last.request) == (self._context.delivery_id, self._request):
            raise WaitCycle(_words(circle))

    def _tell(self, context: HandlerContext) -> None:
        mine = AwaitedReply.objects.filter(delivery_id=context.delivery_id)
        mine.exclude(attempt=context.attempt).delete()
        AwaitedReply.objects.update_or_create(
            delivery_id=context.delivery_id,
            request_id=self._request,
            defaults={"attempt": context.attempt, "since": timezone.now()},
        )
        self._told = True

    def end(self) -> None:
        """It waits no more."""
        if self._told and self._context is not None:
            AwaitedReply.objects.filter(delivery_id=self._context.delivery_id, request_id=self._request).delete()


def find_circle(delivery: UUID, request: UUID) -> list[Waiting]:
    """Follow who waits for whom, beginning with a handler; empty unless that leads back to it.

    Args:
        delivery: what the handler handles.
        request: the message whose reply it waits for.
    """
    going = [[one] for one in _waits([delivery]) if one.request == request]
    seen: set[Waiting] = set()
    while going and len(seen) < MAX_LINKS:
        chain = going.pop()
        for following in _waits(_at_work_for(chain[-1].request)):
            if following.delivery == delivery:
                return chain
            if following not in seen:
                seen.add(following)
                going.append([*chain, following])
    return []


def _at_work_for(request: UUID) -> list[UUID]:
    """Deliveries that are handled just now, and that a request waits for: its own, or one before it in the mailbox."""
    waiting = Q()
    mailboxes = Delivery.objects.filter(message_id=request).values_list("mailbox_id", "position")
    for mailbox, position in mailboxes[:MAX_LINKS]:
        waiting |= Q(mailbox_id=mailbox, position__lte=position)
    if not waiting:
        return []
    at_work = Delivery.objects.filter(waiting, state=DeliveryState.LEASED, position=F("mailbox__processed") + 1)
    return list(at_work.values_list("pk", flat=True))


def _waits(deliveries: list[UUID]) -> list[Waiting]:
    """Which of these handlers wait, by rows that still count."""
    rows = list(AwaitedReply.objects.filter(delivery_id__in=deliveries))
    leased = Delivery.objects.filter(pk__in=[row.delivery_id for row in rows], state=DeliveryState.LEASED)
    at_work = {key: (agent, attempts) for key, agent, attempts in leased.values_list("pk", "agent", "attempts")}
    return [
        Waiting(row.delivery_id, at_work[row.delivery_id][0], row.request_id)
        for row in rows
        if row.delivery_id in at_work and at_work[row.delivery_id][1] == row.attempt
    ]


def _words(circle: list[Waiting]) -> str:
    who = ", ".join(f"{one.agent} for the reply to message {one.request}" for one in circle)
    return (
        f"Handlers wait for one another: {who}; and that needs {circle[0].agent}. The last that asked gives "
        "way. Have one of them send a message and handle the answer as a message, instead of waiting in request()."
    )


def forget_waits(limit: int = 5_000) -> int:
    """Delete what killed handlers left behind; return how many."""
    old = AwaitedReply.objects.filter(since__lt=timezone.now() - FORGOTTEN_AFTER).order_by("since")
    return AwaitedReply.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:limit])).delete()[0]
