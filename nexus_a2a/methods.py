"""The methods of A2A 1.0, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from agents.api import ReliableNexusGroupChatManager
from messaging.api import WorkflowClosed
from nexus_a2a.errors import NO_PUSH, NOT_CANCELABLE, UNSUPPORTED, A2AProblem
from nexus_a2a.following import TaskFollower, history_length_of, wait_for
from nexus_a2a.params import ListParams, SendParams, TaskParams, read_params
from nexus_a2a.sending import take_message
from nexus_a2a.tasks import TERMINAL, find_task, list_tasks, show_task
from nexus_api.callers import Caller
from nexus_api.scopes import Scope


class MethodCall(NamedTuple):
    """A request of a caller who may read.

    Args:
        caller: who makes it.
        team: whom it is made to.
        id: of the JSON-RPC request.
        params: as they came.
    """

    caller: Caller
    team: str
    id: Any
    params: Any


def _send(call: MethodCall) -> Any:
    params = read_params(call.params, SendParams)
    task_id = take_message(call.caller, call.team, params)
    if params.configuration is None or not params.configuration.return_immediately:
        wait_for(call.caller, call.team, task_id)
    task = find_task(call.caller, call.team, task_id)
    return {"task": show_task(task, history_length=history_length_of(params.configuration))}


def _send_streaming(call: MethodCall) -> Any:
    params = read_params(call.params, SendParams)
    task = find_task(call.caller, call.team, take_message(call.caller, call.team, params))
    length = history_length_of(params.configuration)
    return TaskFollower(call.id, call.caller, task, ends_interrupted=True, history_length=length)


def _get(call: MethodCall) -> Any:
    params = read_params(call.params, TaskParams)
    return show_task(find_task(call.caller, call.team, params.id), history_length=params.history_length)


def _list(call: MethodCall) -> Any:
    return list_tasks(call.caller, call.team, read_params(call.params, ListParams))


def _cancel(call: MethodCall) -> Any:
    call.caller.check(Scope.WORKFLOWS_OPERATE)
    params = read_params(call.params, TaskParams)
    task = find_task(call.caller, call.team, params.id)
    if task.task_state in TERMINAL:
        raise A2AProblem(NOT_CANCELABLE, f"The task is over ({task.task_state}).")
    try:
        ReliableNexusGroupChatManager().cancel(task.pk, f"cancelled by {call.caller.name}")
    except WorkflowClosed as error:
        raise A2AProblem(NOT_CANCELABLE, str(error)) from None
    return show_task(find_task(call.caller, call.team, params.id))


def _subscribe(call: MethodCall) -> Any:
    params = read_params(call.params, TaskParams)
    task = find_task(call.caller, call.team, params.id)
    if task.task_state in TERMINAL:
        raise A2AProblem(UNSUPPORTED, f"The task is over ({task.task_state}): nothing more comes. Get it instead.")
    return TaskFollower(call.id, call.caller, task, ends_interrupted=False, history_length=None)


def _no_push(call: MethodCall) -> Any:
    raise A2AProblem(NO_PUSH, "There are no push notifications. Stream, subscribe or ask again.")


def _no_extended_card(call: MethodCall) -> Any:
    raise A2AProblem(UNSUPPORTED, "There is one card for everybody, at its well-known URL.")


METHODS: dict[str, Callable[[MethodCall], Any]] = {
    "SendMessage": _send,
    "SendStreamingMessage": _send_streaming,
    "GetTask": _get,
    "ListTasks": _list,
    "CancelTask": _cancel,
    "SubscribeToTask": _subscribe,
    "CreateTaskPushNotificationConfig": _no_push,
    "GetTaskPushNotificationConfig": _no_push,
    "ListTaskPushNotificationConfigs": _no_push,
    "DeleteTaskPushNotificationConfig": _no_push,
    "GetExtendedAgentCard": _no_extended_card,
}
