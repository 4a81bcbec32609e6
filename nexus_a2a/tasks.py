"""Chats as tasks: which there are, how each stands, and how it is shown.

=====================================  ==========================================================
state                                  a chat that
=====================================  ==========================================================
``SUBMITTED``                          has begun, and nothing is written yet
``WORKING``                            goes on; also while its workflow is paused or parked
``INPUT_REQUIRED``, ``AUTH_REQUIRED``  waits for a person: the caller may answer; somebody else must
``COMPLETED``                          is over, and somebody said something
``FAILED``                             is over without a word, expired, or was given up
``CANCELED``                           was cancelled
=====================================  ==========================================================
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import msgspec
from django.db.models import Case, CharField, Exists, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce
from django.utils.dateparse import parse_datetime

from agents.api import Entry, ReliableNexusGroupChatManager, result_of
from agents.models import Approval, ChatEntry, ChatSession
from messaging.operating import Workflow
from nexus_a2a.errors import INVALID_PARAMS, A2AProblem, no_task
from nexus_a2a.models import A2ATask
from nexus_a2a.params import MAX_PAGE, ListParams
from nexus_api.callers import Caller
from nexus_api.scopes import Scope
from nexus_api.visibility import visible_workflows

SUBMITTED, WORKING, INPUT_REQUIRED, AUTH_REQUIRED, COMPLETED, FAILED, CANCELED = (
    f"TASK_STATE_{name}"
    for name in ("SUBMITTED", "WORKING", "INPUT_REQUIRED", "AUTH_REQUIRED", "COMPLETED", "FAILED", "CANCELED")
)
TERMINAL = frozenset({COMPLETED, FAILED, CANCELED})
INTERRUPTED = frozenset({INPUT_REQUIRED, AUTH_REQUIRED})
KNOWN = TERMINAL | INTERRUPTED | {SUBMITTED, WORKING, "TASK_STATE_REJECTED"}

DEFAULT_PAGE = 50
DEFAULT_HISTORY = 100
MAX_HISTORY = 1_000
FORGOTTEN_AT_ONCE = 1_000


def tasks_of(caller: Caller, team: str) -> QuerySet[ChatSession]:
    """The tasks of a team that a caller sees: what it may not see is no part of any query.

    Each has ``task_state``, ``changed_at`` and ``context``.
    """
    entries = ChatEntry.objects.filter(session=OuterRef("pk"), path="", kind__in=("said", "human"))
    approvals = Approval.objects.filter(workflow=OuterRef("pk"))
    touched = approvals.annotate(at=Coalesce("answered_at", "created_at")).order_by("-at").values("at")
    ended = Q(status="ended") | Q(status="running", workflow__status="completed")
    failed = (
        (~Q(status="ended") & Q(workflow__status="expired"))
        | Q(status="cancelled", reason__startswith="failed")
        | (ended & ~Exists(entries))
    )
    interrupted = INPUT_REQUIRED if may_answer(caller) else AUTH_REQUIRED
    return ChatSession.objects.filter(team=team, pk__in=visible_workflows(caller).values("pk")).annotate(
        task_state=Case(
            When(failed, then=Value(FAILED)),
            When(ended, then=Value(COMPLETED)),
            When(Q(status="cancelled") | Q(workflow__status="cancelled"), then=Value(CANCELED)),
            When(Exists(approvals.filter(status="waiting")), then=Value(interrupted)),
            When(messages=0, then=Value(SUBMITTED)),
            default=Value(WORKING),
            output_field=CharField(),
        ),
        changed_at=Coalesce("ended_at", "workflow__ended_at", Subquery(touched[:1]), "created_at"),
        context=Subquery(A2ATask.objects.filter(pk=OuterRef("pk")).values("context_id")[:1]),
    )


def may_answer(caller: Caller) -> bool:
    """Whether a caller may answer what waits for a person."""
    return caller.may(Scope.APPROVALS_ANSWER)


def find_task(caller: Caller, team: str, task_id: str) -> Any:
    """A task that the caller sees.

    Raises:
        A2AProblem: there is none.
    """
    try:
        wanted = UUID(task_id)
    except ValueError:
        raise no_task(task_id) from None
    found = tasks_of(caller, team).select_related("workflow").filter(pk=wanted).first()
    if found is None:
        raise no_task(task_id)
    return found


def context_of(task: Any) -> str:
    """The context of a task; its own id where its chat was not started by A2A."""
    return task.context or str(task.pk)


def waiting_approvals(task_ids: Iterable[UUID]) -> dict[UUID, Approval]:
    """What waits for a person, the oldest of each task."""
    rows = Approval.objects.filter(workflow__in=list(task_ids), status="waiting").order_by("-created_at", "-pk")
    return {row.workflow_id: row for row in rows}


def show_task(task: Any, *, history_length: int | None = None, with_artifacts: bool = True) -> dict[str, Any]:
    """A task as a client gets it.

    Args:
        task: of ``tasks_of``.
        history_length: most messages; None for ``DEFAULT_HISTORY``.
        with_artifacts: whether its result is shown.
    """
    length = DEFAULT_HISTORY if history_length is None else history_length
    return _show(task, current_status(task), length, with_artifacts)


def _show(task: Any, status: dict[str, Any], history_length: int, with_artifacts: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": str(task.pk),
        "contextId": context_of(task),
        "status": status,
        "metadata": {"team": task.team},
    }
    if with_artifacts:
        shown["artifacts"] = show_artifacts(task)
    if history_length:
        rows = entries_of(task.pk).order_by("-number")[: min(history_length, MAX_HISTORY)]
        shown["history"] = [show_entry(task, row) for row in reversed(rows)]
    return shown


def current_status(task: Any) -> dict[str, Any]:
    """How a task stands, and what a person is asked."""
    asks = task.task_state == INPUT_REQUIRED
    return _status(task, waiting_approvals([task.pk]).get(task.pk) if asks else None)


def _status(task: Any, approval: Approval | None) -> dict[str, Any]:
    status: dict[str, Any] = {"state": task.task_state, "timestamp": to_timestamp(task.changed_at)}
    if approval is not None:
        status["message"] = _question(task, approval)
    elif words := _words(task):
        status["message"] = _message(task, str(uuid5(task.pk, words)), "ROLE_AGENT", [{"text": words}])
    return status


def _words(task: Any) -> str:
    if task.task_state in TERMINAL:
        return str(task.reason or task.workflow.status_reason)
    if task.task_state == AUTH_REQUIRED:
        return "A person must answer before it goes on; this token lacks the scope approvals:answer."
    if task.workflow.status in ("paused", "parked"):
        return f"Its workflow is {task.workflow.status}; an operator lets it go on."
    return ""


def _question(task: Any, approval: Approval) -> dict[str, Any]:
    asked = {
        "approval": str(approval.pk),
        "purpose": approval.purpose,
        "member": approval.member,
        "options": approval.options,
    }
    text = "\n\n".join(part for part in (approval.question, approval.content) if part)
    return _message(task, str(approval.pk), "ROLE_AGENT", [{"text": text}, {"data": asked}])


def show_artifacts(task: Any) -> list[dict[str, Any]]:
    """What a task results in: one artifact, or none as yet."""
    if task.task_state != COMPLETED:
        return []
    manager = ReliableNexusGroupChatManager()
    transcript = manager.transcript(task.pk)
    spoken = [entry for entry in transcript if entry.is_speech]
    text = result_of(manager.view(task.pk).team, transcript)
    parts: list[dict[str, Any]] = [{"text": text}] if text else []
    if spoken and spoken[-1].data is not None:
        parts.append({"data": spoken[-1].data, "mediaType": "application/json"})
    return [{"artifactId": "result", "name": "result", "parts": parts}] if parts else []


def entries_of(task_id: UUID) -> QuerySet[ChatEntry]:
    """The transcript of a task, without sub-chats."""
    return ChatEntry.objects.filter(session=task_id, path="")


def show_entry(task: Any, row: ChatEntry) -> dict[str, Any]:
    """An entry of the transcript as a message."""
    entry = msgspec.json.decode(row.body, type=Entry)
    role = "ROLE_USER" if entry.kind in ("task", "human", "rejection") else "ROLE_AGENT"
    parts: list[dict[str, Any]] = [{"text": entry.content}]
    if entry.data is not None:
        parts.append({"data": entry.data, "mediaType": "application/json"})
    message = _message(task, str(uuid5(task.pk, f"entry:{entry.number}")), role, parts)
    return {**message, "metadata": {"speaker": entry.speaker, "kind": str(entry.kind), "number": entry.number}}


def _message(task: Any, message_id: str, role: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "messageId": message_id,
        "taskId": str(task.pk),
        "contextId": context_of(task),
        "role": role,
        "parts": parts,
    }


def to_timestamp(at: datetime) -> str:
    """A time as ProtoJSON has it, to the millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- lists ---


def list_tasks(caller: Caller, team: str, params: ListParams) -> dict[str, Any]:
    """A page of tasks, those that changed last first.

    Raises:
        A2AProblem: a filter or the token cannot be.
    """
    rows: QuerySet[Any] = _filtered(tasks_of(caller, team).select_related("workflow"), params)
    total = rows.count()
    if params.page_token:
        at, task_id = _read_token(params.page_token)
        rows = rows.filter(Q(changed_at__lt=at) | Q(changed_at=at, pk__lt=task_id))
    size = min(params.page_size or DEFAULT_PAGE, MAX_PAGE)
    found = list(rows.order_by("-changed_at", "-pk")[: size + 1])
    shown: list[Any] = found[:size]
    approvals = waiting_approvals(task.pk for task in shown if task.task_state == INPUT_REQUIRED)
    return {
        "tasks": [
            _show(
                task, _status(task, approvals.get(task.pk)), params.history_length or 0, bool(params.include_artifacts)
            )
            for task in shown
        ],
        "nextPageToken": _write_token(shown[-1]) if len(found) > size else "",
        "pageSize": size,
        "totalSize": total,
    }


def _filtered(rows: QuerySet[Any], params: ListParams) -> QuerySet[Any]:
    if params.context_id:
        contexts = Q(pk__in=A2ATask.objects.filter(context_id=params.context_id).values("pk"))
        with suppress(ValueError):
            contexts |= Q(context=None, pk=UUID(params.context_id))
        rows = rows.filter(contexts)
    if params.status and params.status != "TASK_STATE_UNSPECIFIED":
        if params.status not in KNOWN:
            raise A2AProblem(INVALID_PARAMS, f"status: expected one of {', '.join(sorted(KNOWN))}.")
        rows = rows.filter(task_state=params.status)
    if params.status_timestamp_after:
        rows = rows.filter(changed_at__gte=_read_time(params.status_timestamp_after))
    return rows


def _read_time(text: str) -> datetime:
    try:
        at = parse_datetime(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise A2AProblem(INVALID_PARAMS, "statusTimestampAfter: expected a time such as 2026-11-30T08:00:00Z.")
    return at


def _write_token(task: Any) -> str:
    text = json.dumps([task.changed_at.isoformat(), str(task.pk)])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_token(token: str) -> tuple[datetime, UUID]:
    try:
        at, task_id = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
        return _read_time(at), UUID(task_id)
    except (A2AProblem, AttributeError, TypeError, ValueError, binascii.Error, RecursionError):
        raise A2AProblem(INVALID_PARAMS, "pageToken: expected what an earlier page gave as nextPageToken.") from None


def forget_removed() -> int:
    """Remove what is known of tasks whose workflows are gone; the relay calls this. Return how many."""
    gone = A2ATask.objects.filter(~Exists(Workflow.objects.filter(pk=OuterRef("pk"))))
    ids = list(gone.values_list("pk", flat=True)[:FORGOTTEN_AT_ONCE])
    return A2ATask.objects.filter(pk__in=ids).delete()[0]
