"""Pausing agents: what comes for a paused agent waits in the log and goes on in order when it is resumed."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from agents.models import AgentSetting
from messaging.extension import release_agent


def pause_agent(agent: str, *, reason: str = "", user: str = "") -> None:
    """Let an agent take nothing more. Handlers that run are left to finish; workers notice within a second.

    Args:
        agent: its name.
        reason: for other operators.
        user: who paused it.
    """
    AgentSetting.objects.update_or_create(
        agent=agent,
        defaults={"paused": True, "reason": reason, "changed_by": user[:150], "changed_at": timezone.now()},
    )


def resume_agent(agent: str, *, user: str = "") -> int:
    """Let an agent go on.

    Returns:
        How many deliveries were waiting for it at the head of their mailboxes.
    """
    with transaction.atomic():
        waiting = release_agent(agent)
        AgentSetting.objects.filter(agent=agent).update(
            paused=False, reason="", changed_by=user[:150], changed_at=timezone.now()
        )
    return waiting


def paused_agents() -> list[str]:
    """Names of the agents that are paused, sorted."""
    return sorted(AgentSetting.objects.filter(paused=True).values_list("agent", flat=True))
