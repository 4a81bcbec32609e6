"""The handlers: run a task, keep what it returned, complete its workflow."""

from __future__ import annotations

import os
import socket
from typing import Any

from django.db import transaction
from django.utils import timezone

from messaging.api import AgentSpec, Envelope, HandlerContext, ReliableCommunicationBus, TerminalError
from nexus_tasks.library import (
    TaskContext,
    TaskResultStatus,
    normalize_json,
    task_backends,
    task_finished,
    task_started,
)
from nexus_tasks.names import DONE, KEEPER, agent_of
from nexus_tasks.results import find_task, make_result, read_result, workers_of


def run_leased(message: Envelope, context: HandlerContext) -> None:
    """Run a task outside any transaction; what it returned is stored while its lease holds."""
    _run(message, context)
    context.reply(
        {"backend": message.data["backend"]}, type=DONE
    )  # completed before the result is stored, the workflow would refuse it after a kill


def run_transactional(message: Envelope, context: HandlerContext) -> None:
    """Run a task in the transaction that stores what it returned, and ends its workflow."""
    _run(message, context)
    _complete(message.data["backend"], context)


def _run(message: Envelope, context: HandlerContext) -> None:
    if message.source != KEEPER:
        raise TerminalError(f"{message.source} sent a task: only a backend of TASKS may. Enqueue it.")
    data: dict[str, Any] = message.data
    queue = context.agent.removeprefix(agent_of(data["backend"], ""))
    task = find_task(data["task"]).using(backend=data["backend"], queue_name=queue)
    worker = f"{socket.gethostname()}:{os.getpid()}"
    started = timezone.now()
    result = make_result(
        task,
        str(context.workflow_id),
        data["args"],
        data["kwargs"],
        TaskResultStatus.RUNNING,
        enqueued_at=message.time,
        started_at=started,
        last_attempted_at=started,
        worker_ids=workers_of(context.attempt, worker),
    )
    backend = type(task_backends[task.backend])
    task_started.send(backend, task_result=result)
    first = (TaskContext(task_result=result),) if task.takes_context else ()
    value = normalize_json(task.call(*first, *result.args, **result.kwargs))
    context.state.update(
        value=value,
        started_at=started.isoformat(),
        finished_at=timezone.now().isoformat(),
        attempt=context.attempt,
        worker=worker,
    )


def complete(message: Envelope, context: HandlerContext) -> None:
    """End the workflow of a leased task whose result is stored."""
    _complete(message.data["backend"], context)


def _complete(alias: str, context: HandlerContext) -> None:
    ReliableCommunicationBus().complete_workflow(context.workflow_id)
    transaction.on_commit(lambda: tell_finished(alias, str(context.workflow_id)), robust=True)


def tell_finished(alias: str, identifier: str) -> None:
    """Send Django's signal of a task that succeeded, or failed for good."""
    task_finished.send(type(task_backends[alias]), task_result=read_result(alias, identifier))


KEEPER_SPEC = AgentSpec(
    name=KEEPER,
    handler=complete,
    accepts=(DONE,),
    description="Sends Django's tasks to their queues, and completes the workflows of leased ones.",
)
