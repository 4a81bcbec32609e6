"""The backend: a task is the only message of a workflow of its own, to the agent of its queue.

So tasks of one queue run side by side, and one that fails keeps nobody waiting. Its id is the workflow's. What it
returned is the agent's state there: stored in the transaction that settles the message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils import timezone

from messaging.api import AgentSpec, HandlerKind, NexusError, ReliableCommunicationBus, RetryPolicy
from nexus_tasks.library import BaseTaskBackend, Task, TaskResult, TaskResultStatus, task_enqueued
from nexus_tasks.names import KEEPER, RUN, agent_of
from nexus_tasks.results import make_result, read_result
from nexus_tasks.running import run_leased, run_transactional

OPTIONS = ("KIND", "RETRY", "CONCURRENCY", "RATE", "TIMEOUT")
MAX_NAME = 200


class NexusBackend(BaseTaskBackend):
    """A backend of ``TASKS``.

    Args:
        alias: its key there.
        params: ``QUEUES``: names, each an agent ``tasks.<alias>.<queue>`` that can be paused and limited. ``OPTIONS``:
            ``KIND``, ``"leased"`` (the default; tasks may be slow and call out) or ``"transactional"`` (quick tasks,
            database only: their effects and their result are one transaction); ``RETRY``, the arguments of
            ``RetryPolicy``; ``CONCURRENCY``, ``RATE``, ``TIMEOUT`` (of each leased queue, see ``AgentSpec``).

    Raises:
        ImproperlyConfigured: says which of these cannot be.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = False  # a queue is read in its order; give what is urgent a queue of its own

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        if "." in alias:
            raise ImproperlyConfigured(f"TASKS[{alias!r}]: an alias has no dot here: its agents are tasks.ALIAS.QUEUE.")
        if not self.queues:
            raise ImproperlyConfigured(f"TASKS[{alias!r}]: name its QUEUES; each is an agent, so none can be made up.")
        self.specs = self._make_specs()

    def _make_specs(self) -> list[AgentSpec]:
        """The agents that run its queues."""
        options: Mapping[str, Any] = self.options
        unknown = sorted(options.keys() - set(OPTIONS))
        if unknown:
            raise ImproperlyConfigured(
                f"TASKS[{self.alias!r}]: there is no option {unknown[0]}; there are {', '.join(OPTIONS)}."
            )
        try:
            kind = HandlerKind(options.get("KIND", HandlerKind.LEASED))
            retry = RetryPolicy(**options["RETRY"]) if "RETRY" in options else None
            return [
                AgentSpec(
                    name=agent_of(self.alias, queue),
                    handler=run_leased if kind is HandlerKind.LEASED else run_transactional,
                    kind=kind,
                    retry=retry,
                    accepts=(RUN,),
                    partners=(KEEPER,),
                    concurrency=options.get("CONCURRENCY"),
                    rate=options.get("RATE"),
                    timeout=options.get("TIMEOUT"),
                    description=f"Runs the tasks of the queue {queue}.",
                )
                for queue in sorted(self.queues)
            ]
        except (NexusError, ValueError, TypeError) as error:
            raise ImproperlyConfigured(f"TASKS[{self.alias!r}]: {error}") from error

    def enqueue(self, task: Task[Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> TaskResult[Any]:
        """Store a task in the caller's transaction: rolled back, it never runs; committed, it does.

        Raises:
            InvalidTaskError: it is none that this backend can run.
            TypeError, EnvelopeError: its arguments are no JSON, or too large.
            SendError: nobody ever ran the queue, or its mailbox is full.
        """
        self.validate_task(task)
        result = make_result(task, "", args, kwargs, TaskResultStatus.READY, enqueued_at=timezone.now())
        data = {"backend": self.alias, "task": task.module_path, "args": result.args, "kwargs": result.kwargs}
        bus = ReliableCommunicationBus()
        with transaction.atomic():
            workflow = bus.start_workflow(f"task {task.module_path}"[:MAX_NAME])
            bus.send(
                workflow,
                agent_of(self.alias, task.queue_name),
                RUN,
                data,
                sender=KEEPER,
                at=_in_future(task.run_after),
            )
        object.__setattr__(result, "id", str(workflow))
        task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> TaskResult[Any]:
        """How a task stands, and what it returned.

        Raises:
            TaskResultDoesNotExist: this backend has no such task, or it was removed from the log.
        """
        return read_result(self.alias, result_id)

    def check(self, **kwargs: Any) -> Iterable[CheckMessage]:
        """E025: no worker would run a task."""
        if not apps.is_installed("nexus_tasks"):
            yield Error(
                f"TASKS[{self.alias!r}] is a NexusBackend, and no worker would run its tasks.",
                hint='Add "nexus_tasks.apps.NexusTasksConfig" to INSTALLED_APPS.',
                id="nexus.E025",
            )


def _in_future(run_after: datetime | None) -> datetime | None:
    if run_after is None:
        return None
    aware = run_after if timezone.is_aware(run_after) else timezone.make_aware(run_after)
    return aware if aware > timezone.now() else None
