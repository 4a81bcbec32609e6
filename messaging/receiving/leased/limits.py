"""Concurrency and rate limits of leased agents, over all workers together.

A delivery that finds its agent at a limit goes back to the log and waits there, so it blocks no place and no other
agent. It is the next of its mailbox and stays it: what follows it waits behind it, in order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from messaging.core.registry import AgentSpec
from messaging.directory.external import find_spec
from messaging.directory.pausing import lock_agents
from messaging.directory.rate_limits import take_slots
from messaging.models import Delivery, DeliveryState
from messaging.receiving.ordering import Ready


@dataclass(slots=True)
class Admitted:
    """Which deliveries may start.

    Args:
        starting: those that may start now.
        full: those whose agent has no free place; held until one of its handlers ends.
        later: those that come too soon for the agent's rate, with the time at which to try again.
    """

    starting: list[Ready] = field(default_factory=list)
    full: list[Ready] = field(default_factory=list)
    later: list[tuple[Ready, datetime]] = field(default_factory=list)


def admit_by_limits(ready: Sequence[Ready], strays: Mapping[str, int], now: datetime) -> Admitted:
    """Sort out which deliveries may start. Call inside the transaction that leases them.

    Args:
        ready: deliveries whose turn it is.
        strays: handlers that run on here after their timeout, by agent.
        now: the current time.
    """
    admitted = Admitted()
    limited: dict[AgentSpec, list[Ready]] = {}
    for item in ready:
        spec = find_spec(item.row.agent)
        if spec is None or (spec.concurrency is None and spec.rate is None):
            admitted.starting.append(item)
        else:
            limited.setdefault(spec, []).append(item)
    if limited:
        lock_agents([spec.name for spec in limited])
    for spec, items in limited.items():
        _admit(spec, sorted(items, key=lambda item: item.row.id), strays.get(spec.name, 0), now, admitted)
    return admitted


def _admit(spec: AgentSpec, items: list[Ready], strays: int, now: datetime, admitted: Admitted) -> None:
    agent = spec.name
    if spec.concurrency is not None:
        running = Delivery.objects.filter(state=DeliveryState.LEASED, agent=agent).count() + strays
        free = max(0, spec.concurrency - running)
        admitted.full += items[free:]
        items = items[:free]
    if spec.rate is None or not items:
        admitted.starting += items
        return
    for item, slot in zip(items, take_slots(agent, spec.rate, len(items), now), strict=True):
        if slot <= now:
            admitted.starting.append(item)
        else:
            admitted.later.append((item, slot))


def limited_agents(agents: Counter[str]) -> dict[str, int]:
    """Those of ``agents`` with a concurrency limit, and the limit."""
    found = {}
    for agent in agents:
        spec = find_spec(agent)
        if spec is not None and spec.concurrency is not None:
            found[agent] = spec.concurrency
    return found
