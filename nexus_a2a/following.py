"""Waiting for a task, and following it: what is said and how it stands, in order, until it ends or needs a person."""

from __future__ import annotations

import json
import threading
from time import monotonic
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import InterfaceError, OperationalError

from messaging.extension import get_settings
from nexus_a2a.errors import A2AProblem
from nexus_a2a.tasks import (
    COMPLETED,
    INTERRUPTED,
    TERMINAL,
    WORKING,
    context_of,
    current_status,
    entries_of,
    find_task,
    show_artifacts,
    show_entry,
    show_task,
    to_timestamp,
)
from nexus_api.callers import Caller
from nexus_api.feeds import LOOK_EVERY
from nexus_api.problems import ApiProblem
from nexus_api.slots import WAITING
from nexus_api.streams import HEARTBEAT

MAX_WAIT = 25.0
"""Seconds that SendMessage waits: proxies give up after 30."""
AT_ONCE = 100


def wait_for(caller: Caller, team: str, task_id: str) -> None:
    """Wait until a task is over or needs a person, for ``MAX_WAIT`` at most; not at all when no place is free.

    Raises:
        A2AProblem: there is no such task.
    """
    deadline, waiter = monotonic() + MAX_WAIT, threading.Event()
    try:
        with WAITING.place(caller.identity):
            while find_task(caller, team, task_id).task_state not in TERMINAL | INTERRUPTED:
                if monotonic() >= deadline:
                    return
                waiter.wait(LOOK_EVERY)
    except ApiProblem:  # the message is stored: its sender is told how the task stands, rather than nothing
        return


def history_length_of(params: Any) -> int | None:
    """What a request asks for."""
    return params.history_length if params is not None else None


class TaskFollower:
    """The events of a task. Implements ``nexus_api.streams.Follower``.

    Args:
        request_id: of the JSON-RPC request.
        caller: who sees the task.
        task: as it is now.
        ends_interrupted: whether it ends at once when the task needs a person now.
        history_length: most messages in the first event.
    """

    def __init__(
        self, request_id: Any, caller: Caller, task: Any, *, ends_interrupted: bool, history_length: int | None
    ) -> None:
        self._request_id = request_id
        self._caller = caller
        self._team, self._task_id = task.team, str(task.pk)
        self._began = self._spoke = monotonic()
        self._state = task.task_state
        self._seen = entries_of(task.pk).order_by("-number").values_list("number", flat=True).first() or 0
        self._first = self._event("task", show_task(task, history_length=history_length))
        self.over = task.task_state in TERMINAL or (ends_interrupted and task.task_state in INTERRUPTED)

    def first(self) -> bytes:
        """The task as it was when the stream began."""
        return self._first

    def look(self) -> bytes:
        """The events that are new; perhaps none."""
        try:
            events = self._look()
        except (A2AProblem, OperationalError, InterfaceError):  # the client subscribes again, or is told why not
            self.over = True
            return b": the task is out of reach\n\n"
        now = monotonic()
        if events:
            self._spoke = now
            return b"".join(events)
        if now - self._began >= get_settings().api_stream_seconds:
            self.over = True
            return b": subscribe again\n\n"
        if now - self._spoke >= HEARTBEAT:
            self._spoke = now
            self.over = not self._caller.still_holds()
            return b": still here\n\n"
        return b""

    def _look(self) -> list[bytes]:
        task = find_task(self._caller, self._team, self._task_id)  # first: what it says is then written
        events = []
        rows = list(entries_of(task.pk).filter(number__gt=self._seen).order_by("number")[:AT_ONCE])
        for row in rows:
            self._seen = row.number
            message = show_entry(task, row)
            status = {"state": WORKING, "timestamp": to_timestamp(task.changed_at), "message": message}
            events.append(self._update(task, "statusUpdate", status=status))
        if task.task_state != self._state and len(rows) < AT_ONCE:
            self._state = task.task_state
            if task.task_state == COMPLETED:
                events += [
                    self._update(task, "artifactUpdate", artifact=artifact, lastChunk=True)
                    for artifact in show_artifacts(task)
                ]
            events.append(self._update(task, "statusUpdate", status=current_status(task)))
            self.over = task.task_state in TERMINAL | INTERRUPTED
        return events

    def _update(self, task: Any, name: str, **content: Any) -> bytes:
        return self._event(name, {"taskId": str(task.pk), "contextId": context_of(task), **content})

    def _event(self, name: str, content: dict[str, Any]) -> bytes:
        answer = {"jsonrpc": "2.0", "id": self._request_id, "result": {name: content}}
        return f"data: {json.dumps(answer, cls=DjangoJSONEncoder)}\n\n".encode()
