"""What each agent has to do just now: what waits, since when, and how fast it comes and goes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import CharField, Count, Min, Q
from django.db.models.functions import Cast
from django.utils import timezone

from messaging.core.ids import time_of, uuid7_floor
from messaging.models import POLLED_STATES, Agent, AgentSetting, DeadLetter, DeadLetterStatus, Delivery, DeliveryState

MAX_WINDOW = timedelta(hours=1)


@dataclass(slots=True, kw_only=True)
class AgentLoad:
    """What an agent has to do.

    Args:
        agent: its name.
        kind: of its handler; empty for one without.
        paused: by a person.
        waiting: deliveries that are to be published or were, and are not handled.
        held: that came before their turn, or whose workflow or agent is stopped.
        at_work: that a leased handler works on.
        dead: open dead letters.
        oldest: when the oldest of what waits, is held or at work was sent.
        received: deliveries sent to it within the window.
        handled: those of them that were handled.
        retries: attempts that failed, of what is not handled.
    """

    agent: str
    kind: str = ""
    paused: bool = False
    waiting: int = 0
    held: int = 0
    at_work: int = 0
    dead: int = 0
    oldest: datetime | None = None
    received: int = 0
    handled: int = 0
    retries: int = 0

    @property
    def backlog(self) -> int:
        """Deliveries that are not handled."""
        return self.waiting + self.held + self.at_work


def agent_loads(window: timedelta = timedelta(minutes=1)) -> list[AgentLoad]:
    """What every agent has to do, the longest backlog first.

    Three queries by index: over what is in flight, what was sent within the window, and open dead letters.

    Args:
        window: over which rates are counted, at most an hour.
    """
    loads: dict[str, AgentLoad] = {
        agent.name: AgentLoad(agent=agent.name, kind=agent.kind or "") for agent in Agent.objects.all()
    }

    def of(name: str) -> AgentLoad:
        return loads.setdefault(name, AgentLoad(agent=name))

    for name in AgentSetting.objects.filter(paused=True).values_list("agent", flat=True):
        of(name).paused = True
    in_flight = Delivery.objects.filter(state__in=[str(state) for state in POLLED_STATES]).order_by()
    # PostgreSQL has no minimum of a UUID before 18; as text they have the same order.
    for row in in_flight.values("agent", "state").annotate(
        count=Count("pk"), oldest=Min(Cast("message_id", CharField()))
    ):
        load = of(row["agent"])
        if row["state"] == DeliveryState.HELD:
            load.held += row["count"]
        elif row["state"] == DeliveryState.LEASED:
            load.at_work += row["count"]
        else:
            load.waiting += row["count"]
        sent = time_of(UUID(row["oldest"]))
        load.oldest = sent if load.oldest is None else min(load.oldest, sent)
    for name, count in (
        in_flight.filter(attempts__gt=0).values("agent").annotate(count=Count("pk")).values_list("agent", "count")
    ):
        of(name).retries = count
    since = uuid7_floor(timezone.now() - min(window, MAX_WINDOW))
    counted = (
        Delivery.objects.filter(pk__gte=since)
        .order_by()
        .values("agent")
        .annotate(received=Count("pk"), handled=Count("pk", filter=Q(state=DeliveryState.PROCESSED)))
    )
    for name, received, handled in counted.values_list("agent", "received", "handled"):
        of(name).received, of(name).handled = received, handled
    letters = DeadLetter.objects.filter(status=DeadLetterStatus.OPEN).order_by().values("agent")
    for name, count in letters.annotate(count=Count("pk")).values_list("agent", "count"):
        of(name or "unknown").dead = count
    return sorted(loads.values(), key=lambda load: (-load.backlog, -load.dead, -load.received, load.agent))
