"""What the agents application keeps for handlers, in the database (see ``messaging.extension.AgentServices``)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from agents.models import AgentSetting, AgentState, OnceResult, ToolCall
from messaging.extension import get_settings

StateKey = tuple[UUID, str]


class DatabaseServices:
    """Implements ``AgentServices``."""

    def paused(self) -> frozenset[str]:
        return frozenset(AgentSetting.objects.filter(paused=True).values_list("agent", flat=True))

    def take_slots(self, agent: str, rate: float, count: int, now: datetime) -> list[datetime]:
        """A virtual schedule: starts stand 1/rate apart, and so do the times at which the refused come back."""
        apart = timedelta(seconds=1.0 / rate)
        setting, _ = AgentSetting.objects.get_or_create(agent=agent)
        start = max(setting.next_start or now, now)
        slots = []
        if start <= now:
            slots.append(now)
            start = now + apart
        retry = max(setting.next_retry or start, start)
        while len(slots) < count:
            slots.append(retry)
            retry += apart
        setting.next_start, setting.next_retry = start, retry
        setting.save(update_fields=["next_start", "next_retry"])
        return slots

    def find_result(self, delivery_id: UUID, key: str) -> bytes | None:
        found = OnceResult.objects.filter(delivery_id=delivery_id, key=key).values_list("result", flat=True).first()
        return None if found is None else bytes(found)

    def save_result(self, delivery_id: UUID, key: str, result: bytes) -> bytes:
        OnceResult.objects.bulk_create(
            [OnceResult(delivery_id=delivery_id, key=key, result=result, created_at=timezone.now())],
            ignore_conflicts=True,
        )
        return bytes(OnceResult.objects.values_list("result", flat=True).get(delivery_id=delivery_id, key=key))

    def load_states(self, keys: Collection[StateKey]) -> dict[StateKey, dict[str, Any]]:
        chosen = Q()
        for workflow_id, agent in keys:
            chosen |= Q(workflow_id=workflow_id, agent=agent)
        found = AgentState.objects.filter(chosen) if keys else ()
        return {(state.workflow_id, state.agent): state.data for state in found}

    def save_states(self, states: Mapping[StateKey, dict[str, Any]]) -> None:
        now = timezone.now()
        AgentState.objects.bulk_create(
            [
                AgentState(workflow_id=workflow_id, agent=agent, data=data, changed_at=now)
                for (workflow_id, agent), data in sorted(states.items())
            ],
            update_conflicts=True,
            unique_fields=["workflow_id", "agent"],
            update_fields=["data", "changed_at"],
        )


def prune_records(limit: int = 5_000) -> int:
    """Delete results of ``once`` and ended tool calls that no redelivery can ask for any more; return how many.

    Args:
        limit: most rows of each that one call deletes.
    """
    before = timezone.now() - timedelta(seconds=get_settings().dedup_ttl)
    results = OnceResult.objects.filter(created_at__lt=before).order_by("created_at")
    calls = ToolCall.objects.filter(started_at__lt=before).order_by("started_at")
    deleted = OnceResult.objects.filter(pk__in=list(results.values_list("pk", flat=True)[:limit])).delete()[0]
    return deleted + ToolCall.objects.filter(pk__in=list(calls.values_list("pk", flat=True)[:limit])).delete()[0]
