"""The queues of all backends as agents."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from messaging.api import DeadLetterNotice, ReliableCommunicationBus, dead_lettered, registry
from messaging.extension import when_discarded
from nexus_tasks.backend import NexusBackend
from nexus_tasks.library import task_backends
from nexus_tasks.names import RUN
from nexus_tasks.running import KEEPER_SPEC, tell_finished


def backends() -> list[NexusBackend]:
    """Those of ``TASKS`` that are ours."""
    return [backend for backend in task_backends.all() if isinstance(backend, NexusBackend)]


def register_queues() -> None:
    """Make the agents of all queues known to this process.

    Raises:
        NameTaken: another agent has the name of one.
    """
    registry.register(KEEPER_SPEC)
    for backend in backends():
        for spec in backend.specs:
            registry.register(spec)


def watch_failures() -> None:
    """Have Django told of tasks that failed for good, and have a workflow end whose task an operator discards."""
    dead_lettered.connect(_tell_failed, dispatch_uid="nexus_tasks")
    for backend in backends():
        for spec in backend.specs:
            when_discarded(spec.name, _end_discarded)


def _tell_failed(notice: DeadLetterNotice, **_: Any) -> None:
    owner = next((one.alias for one in backends() if notice.agent in {spec.name for spec in one.specs}), None)
    if owner is not None and notice.message_type == RUN and notice.workflow_id is not None:
        tell_finished(owner, str(notice.workflow_id))


def _end_discarded(workflow: UUID, type: str) -> None:
    if type == RUN:
        ReliableCommunicationBus().cancel_workflow(workflow, "its task failed, and an operator discarded it")
