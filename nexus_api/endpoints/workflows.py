"""Workflows: start, list, read, pause, resume, cancel, fork."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router
from ninja.responses import Status

from agents.api import AgentTeamBuilder, ReliableNexusGroupChatManager
from agents.models import ChatSession
from messaging.api import ReliableCommunicationBus
from messaging.operating import (
    DeadLetterStatus,
    Mailbox,
    Workflow,
    perform,
    record,
    send_message,
    start_workflow,
)
from nexus_api.callers import Caller, caller_of
from nexus_api.idempotency import once
from nexus_api.models import Visibility
from nexus_api.pages import MAX_PAGE, page
from nexus_api.problems import ApiProblem
from nexus_api.routing import changes, reads
from nexus_api.scopes import Scope
from nexus_api.shapes.answers import ReceiptOut, WorkflowDetailOut, WorkflowPage
from nexus_api.shapes.bodies import ForkIn, ReasonIn, WorkflowIn
from nexus_api.visibility import find_workflow, note_origin, visible_workflows

router = Router(tags=["workflows"])
MAX_MAILBOXES = 1_000


def _show(workflow: Workflow) -> dict[str, Any]:
    fields = ("id", "name", "status", "status_reason", "sequence", "created_at", "ended_at")
    return {field: getattr(workflow, field) for field in fields}


def _detail(workflow: Workflow) -> dict[str, Any]:
    mailboxes = Mailbox.objects.filter(workflow=workflow).order_by("agent").values("agent", "sent", "processed")
    chat = ChatSession.objects.filter(pk=workflow.pk).first()
    return {
        **_show(workflow),
        "open_dead_letters": workflow.dead_letters.filter(status=DeadLetterStatus.OPEN).count(),
        "mailboxes": list(mailboxes[:MAX_MAILBOXES]),
        "chat": chat and {"team": chat.team, "status": chat.status, "reason": chat.reason, "entries": chat.messages},
    }


@reads(router, "", Scope.WORKFLOWS_READ, {200: WorkflowPage}, problems=(422,))
def list_workflows(
    request: HttpRequest,
    status: Literal["running", "paused", "parked", "completed", "cancelled", "expired"] | None = None,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
) -> Any:
    rows = visible_workflows(caller_of(request))
    if status is not None:
        rows = rows.filter(status=status)
    return page(rows, ("-pk",), cursor, limit, _show)


@changes(router, "", Scope.WORKFLOWS_START, {201: ReceiptOut}, problems=(409,), repeatable=True)
def start(request: HttpRequest, body: WorkflowIn, response: HttpResponse) -> Status[dict[str, Any]]:
    caller = caller_of(request)
    begin = _start_chat if body.team is not None else _start
    return once(request, response, body, lambda: begin(caller, body))


def _start(caller: Caller, body: WorkflowIn) -> dict[str, Any]:
    if body.task is not None:
        raise ApiProblem(422, "invalid-values", "task: belongs to a team. Give the team, or a message.")
    workflow = start_workflow(name=body.name, max_messages=body.max_messages, deadline=body.deadline)
    note_origin(caller, workflow)
    if body.message is None:
        return {"workflow": str(workflow)}
    first = body.message
    sent = send_message(
        workflow, recipient=first.recipient, type=first.type, data=first.data, sender=caller.sender(first.sender)
    )
    return {"workflow": str(workflow), "message": str(sent.id), "sequence": sent.sequence}


def _start_chat(caller: Caller, body: WorkflowIn) -> dict[str, Any]:
    if body.message is not None or body.max_messages is not None or body.deadline is not None or body.task is None:
        raise ApiProblem(
            422, "invalid-values", "team: needs a task, and takes neither message nor max_messages nor deadline."
        )
    wanted = body.team
    token = caller.token
    if token is not None and token.visibility == Visibility.TEAM and wanted != token.team:
        raise ApiProblem(403, "team-not-allowed", f"This token may start chats of the team {token.team!r} only.")
    if isinstance(wanted, dict) and not caller.sees_all:
        raise ApiProblem(403, "team-not-allowed", "Definitions are taken from callers who see every workflow only.")
    if isinstance(wanted, str) and not _is_name(wanted):
        raise ApiProblem(422, "invalid-values", "team: expected a stored team's name, or a definition as an object.")
    bus = ReliableCommunicationBus()
    team = AgentTeamBuilder(bus).build_team(wanted or {})
    workflow = ReliableNexusGroupChatManager(bus).start_chat(team, body.task, name=body.name)
    note_origin(caller, workflow)
    return {"workflow": str(workflow)}


def _is_name(text: str) -> bool:
    """Whether the builder takes a text as a name, and a database can look for it; others it takes as YAML."""
    return text.isprintable() and "{" not in text


@reads(router, "/{uuid:workflow_id}", Scope.WORKFLOWS_READ, {200: WorkflowDetailOut}, problems=(404,))
def read(request: HttpRequest, workflow_id: UUID) -> Any:
    return _detail(find_workflow(caller_of(request), workflow_id))


def _operate(
    request: HttpRequest,
    action: str,
    workflow_id: UUID,
    change: Callable[[ReliableCommunicationBus], object],
    reason: str = "",
) -> Any:
    """Change a workflow that the caller sees, write down who did it, and show it."""
    caller = caller_of(request)
    find_workflow(caller, workflow_id)

    def do() -> str:
        change(ReliableCommunicationBus())
        return ""

    perform(caller.actor, action, Workflow, workflow_id, do, reason=reason)
    return _detail(find_workflow(caller, workflow_id))


@changes(router, "/{uuid:workflow_id}/pause", Scope.WORKFLOWS_OPERATE, {200: WorkflowDetailOut}, problems=(404, 409))
def pause(request: HttpRequest, workflow_id: UUID, body: ReasonIn) -> Any:
    return _operate(
        request, "pause", workflow_id, lambda bus: bus.pause_workflow(workflow_id, body.reason), body.reason
    )


@changes(
    router,
    "/{uuid:workflow_id}/resume",
    Scope.WORKFLOWS_OPERATE,
    {200: WorkflowDetailOut},
    problems=(404, 409),
    body=False,
)
def resume(request: HttpRequest, workflow_id: UUID) -> Any:
    return _operate(request, "resume", workflow_id, lambda bus: bus.resume_workflow(workflow_id))


@changes(router, "/{uuid:workflow_id}/cancel", Scope.WORKFLOWS_OPERATE, {200: WorkflowDetailOut}, problems=(404, 409))
def cancel(request: HttpRequest, workflow_id: UUID, body: ReasonIn) -> Any:
    def end(bus: ReliableCommunicationBus) -> None:
        if ChatSession.objects.filter(pk=workflow_id).exists():
            ReliableNexusGroupChatManager(bus).cancel(workflow_id, body.reason)
        else:
            bus.cancel_workflow(workflow_id, body.reason)

    return _operate(request, "cancel", workflow_id, end, body.reason)


@changes(
    router,
    "/{uuid:workflow_id}/fork",
    Scope.WORKFLOWS_START,
    {201: ReceiptOut},
    problems=(404, 409),
    repeatable=True,
)
def fork(request: HttpRequest, workflow_id: UUID, body: ForkIn, response: HttpResponse) -> Status[dict[str, Any]]:
    caller = caller_of(request)
    find_workflow(caller, workflow_id)

    def work() -> dict[str, Any]:
        forked = ReliableNexusGroupChatManager().fork(workflow_id, after=body.after, say=body.say)
        note_origin(caller, forked)
        made = {"fork": str(forked), "after": body.after}
        record(caller.actor, "fork", Workflow, workflow_id, after=made)
        return {"workflow": str(forked)}

    return once(request, response, body, work)
