"""The Celery tasks. A worker that dies in the middle runs them again, so each is safe to run twice."""

from __future__ import annotations

from functools import partial
from typing import Any

from celery import shared_task

from messaging.core.arguments import as_uuid
from messaging.models import Entrance
from messaging.operators.acts import Actor
from messaging.operators.dead_letters import DeadLetterFilter, replay_letter, resolve_each
from messaging.operators.teams import start_team
from messaging.recovery.pruning import prune_processed_ids

SENDER = "operator"
MAX_REPORTED = 20
SURVIVES_ITS_WORKER = {"acks_late": True, "reject_on_worker_lost": True, "track_started": True}


@shared_task(name="nexus.replay_dead_letters", **SURVIVES_ITS_WORKER)  # type: ignore[untyped-decorator]
def replay_dead_letters(
    *,
    agent: str = "",
    message_type: str = "",
    workflow: str = "",
    reason: str = "",
    limit: int = 10_000,
    user: str = SENDER,
) -> dict[str, Any]:
    """Put open dead letters back.

    Args:
        agent, message_type, workflow, reason: see ``DeadLetterFilter``.
        limit: how many at most.
        user: who asked for it.

    Returns:
        How many were replayed, how many could not be, and what was wrong with the first of those.
    """
    wanted = DeadLetterFilter(
        agent=agent,
        message_type=message_type,
        workflow=as_uuid("workflow", workflow) if workflow else None,
        reason=reason,
    )
    problems = [
        f"{identifier}: {problem}" if problem else ""
        for identifier, problem in resolve_each(
            wanted.ids(limit), partial(replay_letter, actor=Actor(user, Entrance.API))
        )
    ]
    failed = [problem for problem in problems if problem]
    return {"replayed": len(problems) - len(failed), "failed": len(failed), "problems": failed[:MAX_REPORTED]}


@shared_task(name="nexus.prune", **SURVIVES_ITS_WORKER)  # type: ignore[untyped-decorator]
def prune() -> dict[str, int]:
    """Remove processed-IDs that have expired. The relay does so by itself, bit by bit; this does it now."""
    return {"processed_ids": prune_processed_ids()}


@shared_task(name="nexus.start_team", bind=True, **SURVIVES_ITS_WORKER)  # type: ignore[untyped-decorator]
def start_team_task(
    self: Any, *, name: str, recipient: str, type: str, data: Any = None, deduplication_id: str | None = None
) -> dict[str, Any]:
    """Start a workflow with its first message. Run twice, it starts one.

    Args:
        name, recipient, type, data: see ``start_team``.
        deduplication_id: the task's own id when left out.
    """
    sent = start_team(
        name=name,
        recipient=recipient,
        type=type,
        data=data,
        sender=SENDER,
        deduplication_id=deduplication_id or str(self.request.id),
    )
    return {"workflow": str(sent.workflow_id), "message": str(sent.id), "sequence": sent.sequence}
