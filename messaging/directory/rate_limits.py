"""Rate limits of agents, over all workers together."""

from __future__ import annotations

from datetime import datetime, timedelta

from messaging.models import AgentSetting

MAX_DAYS = 366
"""Whoever has to wait longer for a slow agent asks again after that time."""


def take_slots(agent: str, rate: float, count: int, now: datetime) -> list[datetime]:
    """Say when each of ``count`` handlers may start, at most ``rate`` a second over all workers.

    A virtual schedule: starts stand 1/rate apart, and so do the times at which the refused come back. The caller holds
    the agent's row lock. A time that is not after ``now`` is used up by this call; a later one is when to ask again.

    Args:
        agent: its name.
        rate: handlers started per second.
        count: handlers that want to start.
        now: the current time.
    """
    apart = timedelta(seconds=1.0 / rate)
    setting, _ = AgentSetting.objects.get_or_create(agent=agent)
    start = max(setting.next_start or now, now)
    horizon = now + timedelta(days=MAX_DAYS)
    slots = []
    if start <= now:
        slots.append(now)
        start = now + apart
    retry = max(setting.next_retry or start, start)
    while len(slots) < count:
        slots.append(retry)
        retry = min(retry + apart, horizon)
    setting.next_start, setting.next_retry = start, retry
    setting.save(update_fields=["next_start", "next_retry"])
    return slots
