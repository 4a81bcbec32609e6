"""Approvals: what waits for a person, and its answer."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router

from agents.api import answer_approval
from nexus_api.callers import caller_of
from nexus_api.pages import MAX_PAGE, page
from nexus_api.routing import changes, reads
from nexus_api.scopes import Scope
from nexus_api.shapes.answers import ApprovalOut, ApprovalPage
from nexus_api.shapes.bodies import AnswerIn
from nexus_api.showing import show_approval
from nexus_api.visibility import find_approval, visible_approvals

router = Router(tags=["approvals"])


@reads(router, "", Scope.APPROVALS_READ, {200: ApprovalPage}, problems=(422,))
def list_approvals(
    request: HttpRequest,
    status: Literal["waiting", "approved", "rejected", "withdrawn"] = "waiting",
    workflow: UUID | None = None,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
) -> Any:
    rows = visible_approvals(caller_of(request)).filter(status=status)
    if workflow is not None:
        rows = rows.filter(workflow=workflow)
    return page(rows, ("created_at", "pk"), cursor, limit, show_approval)


@reads(router, "/{uuid:approval_id}", Scope.APPROVALS_READ, {200: ApprovalOut}, problems=(404,))
def read(request: HttpRequest, approval_id: UUID) -> Any:
    return show_approval(find_approval(caller_of(request), approval_id))


@changes(router, "/{uuid:approval_id}/answer", Scope.APPROVALS_ANSWER, {200: ApprovalOut}, problems=(404, 409))
def answer(request: HttpRequest, approval_id: UUID, body: AnswerIn) -> Any:
    caller = caller_of(request)
    find_approval(caller, approval_id)
    answer_approval(approval_id, approved=body.approved, text=body.text, by=caller.name)
    return show_approval(find_approval(caller, approval_id))
