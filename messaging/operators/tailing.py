"""Following the log: each message that is stored, once, and nothing twice."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone

from messaging.core.arguments import as_uuid, check_text
from messaging.core.ids import uuid7_floor
from messaging.models import Message, Workflow

LOOK_BACK = timedelta(seconds=10)
"""Ids are made before their transaction commits: what commits later than this after its id was made is not seen."""
MAX_REMEMBERED = 100_000
MAX_A_POLL = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
    """Which messages are meant; every criterion that is given must hold.

    Args:
        workflow: id of their workflow.
        agent: their sender or recipient.
        type: their exact type, or with ``*`` at its end what it begins with.

    Raises:
        EnvelopeError: one of them cannot be.
    """

    workflow: UUID | None = None
    agent: str = ""
    type: str = ""

    def __post_init__(self) -> None:
        for attribute in ("agent", "type"):
            if getattr(self, attribute) != "":
                check_text(attribute, getattr(self, attribute))
        if self.workflow is not None:
            object.__setattr__(self, "workflow", as_uuid("workflow", self.workflow))

    def select(self) -> QuerySet[Message]:
        """The messages that match, in no order."""
        found = Message.objects.all()
        if self.workflow is not None:
            found = found.filter(workflow_id=self.workflow)
        if self.agent:
            found = found.filter(Q(source=self.agent) | Q(subject=self.agent))
        if self.type.endswith("*"):
            found = found.filter(type__startswith=self.type[:-1])
        elif self.type:
            found = found.filter(type=self.type)
        return found


def last(chosen: MessageFilter, count: int) -> list[Message]:
    """The newest messages, the oldest of them first.

    Args:
        chosen: which messages.
        count: that many at most.
    """
    order = "sequence" if chosen.workflow is not None else "pk"
    return list(chosen.select().order_by(f"-{order}")[:count])[::-1]


def follow(chosen: MessageFilter, seen: list[Message], *, interval: float = 0.5) -> Iterator[Message]:
    """Wait for messages and give each of them as it comes; ends never, and with the workflow where one is followed.

    In one workflow the order is that of their sequence, and none is missed. Over all workflows they come as they are
    committed, and one whose transaction took longer than ``LOOK_BACK`` is missed.

    Args:
        chosen: which messages.
        seen: messages that were shown before, as ``last`` gave them.
        interval: seconds between two looks.
    """
    if chosen.workflow is not None:
        yield from _follow_workflow(chosen, chosen.workflow, seen, interval)
        return
    shown: OrderedDict[UUID, None] = OrderedDict.fromkeys(message.pk for message in seen)
    floor = seen[-1].pk if seen else uuid7_floor(timezone.now())
    while True:
        after = max(floor, uuid7_floor(timezone.now() - LOOK_BACK))
        ids = list(chosen.select().filter(pk__gte=after).order_by("pk").values_list("pk", flat=True))
        new = [key for key in ids if key not in shown]
        for start in range(0, len(new), MAX_A_POLL):
            rows = Message.objects.in_bulk(new[start : start + MAX_A_POLL])
            for key in new[start : start + MAX_A_POLL]:
                shown[key] = None
                if key in rows:
                    yield rows[key]
        while len(shown) > MAX_REMEMBERED:
            shown.popitem(last=False)
        time.sleep(interval)


def _follow_workflow(chosen: MessageFilter, workflow: UUID, seen: list[Message], interval: float) -> Iterator[Message]:
    sequence = seen[-1].sequence if seen else 0
    while True:
        running = Workflow.objects.filter(pk=workflow, ended_at__isnull=True).exists()
        rows = list(chosen.select().filter(sequence__gt=sequence).order_by("sequence")[:MAX_A_POLL])
        yield from rows
        if rows:
            sequence = rows[-1].sequence
        elif not running:
            return
        else:
            time.sleep(interval)
