"""Operators' tasks: what takes too long for a web request runs in a Celery worker, its result visible in the admin."""

from __future__ import annotations

from messaging.tasks.bulk import resolve_in_bulk
from messaging.tasks.operations import prune, replay_dead_letters, start_team_task

__all__ = ["prune", "replay_dead_letters", "resolve_in_bulk", "start_team_task"]
