"""Approvals: what waits for a person, and its answer."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Query, Router

from agents.api import answer_approval
from agents.models import Approval
from nexus_api.callers import Caller, caller_of
from nexus_api.pages import MAX_PAGE, page
from nexus_api.problems import not_found
from nexus_api.routing import changes, reads
from nexus_api.scopes import Scope
from nexus_api.shapes import AnswerIn, ApprovalOut, ApprovalPage
from nexus_api.visibility import visible_workflows

router = Router(tags=["approvals"])


def _visible(caller: Caller) -> QuerySet[Approval]:
    rows = Approval.objects.all()
    return rows if caller.sees_all else rows.filter(workflow__in=visible_workflows(caller).values("pk"))


def _find(caller: Caller, approval_id: UUID) -> Approval:
    found = _visible(caller).filter(pk=approval_id).first()
    if found is None:
        raise not_found("approval", approval_id)
    return found


def _show(approval: Approval) -> dict[str, Any]:
    fields = ("id", "purpose", "member", "question", "content", "options", "status", "answer", "answered_by",
              "deadline_at", "created_at")  # fmt: skip
    return {**{field: getattr(approval, field) for field in fields}, "workflow": approval.workflow_id}


@reads(router, "", Scope.APPROVALS_READ, {200: ApprovalPage}, problems=(422,))
def list_approvals(
    request: HttpRequest,
    status: Literal["waiting", "approved", "rejected", "withdrawn"] = "waiting",
    workflow: UUID | None = None,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
) -> Any:
    rows = _visible(caller_of(request)).filter(status=status)
    if workflow is not None:
        rows = rows.filter(workflow=workflow)
    return page(rows, ("created_at", "pk"), cursor, limit, _show)


@reads(router, "/{uuid:approval_id}", Scope.APPROVALS_READ, {200: ApprovalOut}, problems=(404,))
def read(request: HttpRequest, approval_id: UUID) -> Any:
    return _show(_find(caller_of(request), approval_id))


@changes(router, "/{uuid:approval_id}/answer", Scope.APPROVALS_ANSWER, {200: ApprovalOut}, problems=(404, 409))
def answer(request: HttpRequest, approval_id: UUID, body: AnswerIn) -> Any:
    caller = caller_of(request)
    _find(caller, approval_id)
    answer_approval(approval_id, approved=body.approved, text=body.text, by=caller.name)
    return _show(_find(caller, approval_id))
