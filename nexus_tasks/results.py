"""How a task stands: read from the workflow of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.utils.dateparse import parse_datetime
from django.utils.module_loading import import_string

from messaging.api import TerminalError
from messaging.extension import get_settings, load_states
from messaging.operating import Mailbox, Workflow, open_data, parse_envelope
from nexus_tasks.library import Task, TaskError, TaskResult, TaskResultDoesNotExist, TaskResultStatus
from nexus_tasks.names import RUN, agent_of

STATUSES = {
    "pending": TaskResultStatus.READY,
    "sent": TaskResultStatus.READY,
    "held": TaskResultStatus.READY,
    "quarantined": TaskResultStatus.READY,
    "leased": TaskResultStatus.RUNNING,
    "processed": TaskResultStatus.SUCCESSFUL,
}
"""Of a delivery's state; any other one is a failure."""

UNKNOWN_WORKER = "unknown"
"""In the place of a worker whose attempt failed: the log counts attempts, and does not keep who made them."""

_CLASS = re.compile(r"^([A-Za-z_][\w.]*)(?::|$)", re.MULTILINE)


class _Stand(NamedTuple):
    """What the log says about a task's message."""

    agent: str
    envelope: bytes
    state: str
    attempts: int
    error: str
    ended_at: datetime | None


def workers_of(attempt: int, worker: str) -> list[str]:
    """The workers of so many attempts, of which the last one is known: Django counts attempts by them."""
    return [*[UNKNOWN_WORKER] * (attempt - 1), worker]


def find_task(path: str) -> Task[Any, Any]:
    """The task that a dotted path names.

    Raises:
        TerminalError: it is none, or this process does not have it.
    """
    try:
        found = import_string(path)
    except ImportError as error:
        raise TerminalError(f"The task {path} cannot be imported: {error}.") from error
    if not isinstance(found, Task):
        raise TerminalError(f"{path} is no task. Decorate it with @task.")
    return found


def make_result(
    task: Task[Any, Any],
    identifier: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    status: TaskResultStatus,
    **known: Any,
) -> TaskResult[Any]:
    """A result; what is not known of it is None or empty."""
    empty = {"enqueued_at": None, "started_at": None, "finished_at": None, "last_attempted_at": None}
    lists: dict[str, Any] = {"errors": [], "worker_ids": []}
    return TaskResult(
        task=task, id=identifier, status=status, args=list(args), kwargs=dict(kwargs), backend=task.backend,
        **{**empty, **lists, **known},
    )  # fmt: skip


def read_result(alias: str, identifier: str) -> TaskResult[Any]:
    """The result of a task.

    Args:
        alias: of the backend that it was given to.
        identifier: its id.

    Raises:
        TaskResultDoesNotExist: there is none.
    """
    try:
        workflow = Workflow.objects.filter(pk=UUID(identifier)).first()
    except (ValueError, AttributeError, TypeError):
        workflow = None
    stand = None if workflow is None else _stand(alias, workflow)
    if workflow is None or stand is None:
        raise TaskResultDoesNotExist(identifier)
    try:
        body = stand.envelope
        data = open_data(parse_envelope(body, max_bytes=max(len(body), get_settings().max_message_bytes))).data
        task = find_task(data["task"])
    except TerminalError as error:
        raise TaskResultDoesNotExist(f"{identifier}: {error}") from error
    task = task.using(backend=alias, queue_name=stand.agent.removeprefix(agent_of(alias, "")))
    status = STATUSES.get(stand.state, TaskResultStatus.FAILED)
    done = load_states([(workflow.pk, stand.agent)]).get((workflow.pk, stand.agent), {})
    started = parse_datetime(done["started_at"]) if done else None
    ended = parse_datetime(done["finished_at"]) if done else stand.ended_at
    result = make_result(
        task,
        identifier,
        data["args"],
        data["kwargs"],
        status,
        enqueued_at=workflow.created_at,
        started_at=started,
        last_attempted_at=started,
        finished_at=ended if status in (TaskResultStatus.SUCCESSFUL, TaskResultStatus.FAILED) else None,
        errors=[_error(stand.error)] if stand.error else [],
        worker_ids=workers_of(done["attempt"], done["worker"]) if done else [UNKNOWN_WORKER] * stand.attempts,
    )
    object.__setattr__(result, "_return_value", done.get("value"))
    return result


def _stand(alias: str, workflow: Workflow) -> _Stand | None:
    """None where the workflow is not a task's of this backend."""
    mailbox = Mailbox.objects.filter(workflow=workflow, agent__startswith=agent_of(alias, "")).first()
    if mailbox is not None:
        row = mailbox.deliveries.filter(position=1, edition=0).select_related("message").first()
        if row is None or row.message.type != RUN:
            return None
        ended_at = row.settled_at or workflow.ended_at
        return _Stand(row.agent, bytes(row.message.envelope), row.state, row.attempts, row.last_error, ended_at)
    timer = workflow.timers.filter(type=RUN, recipient__startswith=agent_of(alias, "")).first()
    if timer is None:
        return None
    state = "pending" if timer.state == "waiting" else "dead"
    return _Stand(timer.recipient, bytes(timer.envelope), state, 0, timer.last_error, None)


def _error(detail: str) -> TaskError:
    """An error as the log describes it: its traceback, whose last line begins with its class."""
    named = _CLASS.findall(detail)
    path = named[-1] if named else "Exception"
    return TaskError(exception_class_path=path if "." in path else f"builtins.{path}", traceback=detail)
