"""Pausing agents: what comes for a paused agent is HELD in the log and goes on in order when it is resumed.

Holding deliveries and releasing them both lock the agent's row, so a delivery that is held while somebody flips the
switch is either released with the others or not held at all.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from datetime import timedelta
from time import monotonic

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from messaging import log
from messaging.conf import get_settings
from messaging.core.arguments import check_note
from messaging.core.describing import storable
from messaging.directory.names import require_handler
from messaging.models import Agent, AgentSetting, Delivery, DeliveryState, WorkflowStatus

REMEMBER = 0.5
"""Seconds until a worker notices that a switch was turned on. It notices at once that one was turned off."""


class _Switches:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        self._known: frozenset[str] = frozenset()
        self._read_at = float("-inf")

    def remembered(self) -> frozenset[str]:
        with self._lock:
            if monotonic() - self._read_at >= REMEMBER:
                self._known, self._read_at = frozenset(paused_agents()), monotonic()
            return self._known

    def read(self) -> frozenset[str]:
        with self._lock:
            self._known, self._read_at = frozenset(paused_agents()), monotonic()
            return self._known


_switches = _Switches()


def forget() -> None:
    """Read the switches anew at the next question."""
    _switches.forget()


def paused_agents() -> list[str]:
    """Names of the agents that are paused, sorted."""
    return sorted(AgentSetting.objects.filter(paused=True).values_list("agent", flat=True))


def pause_agent(agent: str, *, reason: str = "", user: str = "") -> None:
    """Let an agent take nothing more. Handlers that run are left to finish; workers notice within a second.

    Args:
        agent: its name.
        reason: for other operators.
        user: who paused it.

    Raises:
        UnknownAgent: no agent that has a handler is named so.
    """
    require_handler(agent)
    AgentSetting.objects.update_or_create(
        agent=agent,
        defaults={
            "paused": True,
            "reason": check_note("reason", reason),
            "changed_by": storable(user)[:150],
            "changed_at": timezone.now(),
        },
    )
    _switches.forget()


def resume_agent(agent: str, *, user: str = "") -> int:
    """Let an agent go on.

    Returns:
        How many deliveries were waiting for it at the head of their mailboxes.

    Raises:
        UnknownAgent: no agent is named so, and none of that name is paused.
    """
    if agent not in paused_agents():
        require_handler(agent)
    with transaction.atomic():
        lock_agents([agent])
        _switches.forget()
        # Without the lock of the workflow: a worker that settles one of these at this moment has the agent's lock or
        # will find it due a second time, which is harmless. The relay publishes them.
        waiting = Delivery.objects.filter(
            pk__in=list(_next_in_turn(agent).values_list("pk", flat=True)), state=DeliveryState.HELD
        ).update(state=DeliveryState.PENDING, available_at=timezone.now())
        AgentSetting.objects.filter(agent=agent).update(
            paused=False, reason="", changed_by=storable(user)[:150], changed_at=timezone.now()
        )
    return waiting


def lock_agents(names: Collection[str]) -> None:
    """Lock the agents' rows until the transaction ends. Workflows are locked before agents, never after them."""
    list(
        Agent.objects.select_for_update(no_key=True)
        .filter(name__in=names)
        .order_by("name")
        .values_list("name", flat=True)
    )


def paused_among(agents: Collection[str]) -> frozenset[str]:
    """Those of ``agents`` that are paused. Call inside a transaction, after locking the workflows."""
    suspected = _switches.remembered().intersection(agents)
    if not suspected:
        return frozenset()
    lock_agents(suspected)
    return suspected & _switches.read()


def release_places(agent: str, limit: int) -> list[log.StoredDelivery]:
    """Take deliveries out of the queue for an agent with a concurrency limit, as many as there are free places.

    Returns:
        What is to be published now; the relay does it when nobody else does.
    """
    if agent in _switches.remembered():
        return []
    with transaction.atomic():
        free = limit - Delivery.objects.filter(state=DeliveryState.LEASED, agent=agent).count()
        if free <= 0:
            return []
        waiting = _next_in_turn(agent).select_for_update(no_key=True, skip_locked=True, of=("self",))
        ids = list(waiting.order_by("pk").values_list("pk", flat=True)[:free])
        if not ids:
            return []
        due = timezone.now() + timedelta(seconds=get_settings().publish_grace)
        log.reschedule(ids, DeliveryState.PENDING, due)
        return log.carried(log.load_for_publishing(ids))


def _next_in_turn(agent: str) -> QuerySet[Delivery]:
    return Delivery.objects.filter(
        state=DeliveryState.HELD,
        agent=agent,
        position=F("mailbox__processed") + 1,
        workflow__status=WorkflowStatus.RUNNING,
    )
