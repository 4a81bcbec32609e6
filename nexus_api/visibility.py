"""Which workflows a caller sees. Rights are part of the query: a foreign workflow is found as little as none at all."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q, QuerySet

from agents.models import Approval, ChatSession
from messaging.operating import Message, Workflow
from nexus_api.callers import Caller
from nexus_api.models import Visibility, WorkflowOrigin
from nexus_api.problems import not_found


def visible_workflows(caller: Caller) -> QuerySet[Workflow]:
    """The workflows that a caller sees."""
    if caller.sees_all or caller.token is None:
        return Workflow.objects.all()
    seen = Q(pk__in=WorkflowOrigin.objects.filter(token=caller.token).values("workflow_id"))
    if caller.token.visibility == Visibility.TEAM:
        seen |= Q(pk__in=ChatSession.objects.filter(team=caller.token.team).values("pk"))
    return Workflow.objects.filter(seen)


def find_workflow(caller: Caller, workflow_id: UUID) -> Workflow:
    """A workflow that the caller sees.

    Raises:
        ApiProblem: 404.
    """
    found = visible_workflows(caller).filter(pk=workflow_id).first()
    if found is None:
        raise not_found("workflow", workflow_id)
    return found


def find_message(caller: Caller, message_id: UUID) -> Message:
    """A message of a workflow that the caller sees.

    Raises:
        ApiProblem: 404.
    """
    rows = Message.objects.filter(pk=message_id)
    if not caller.sees_all:
        rows = rows.filter(workflow__in=visible_workflows(caller).values("pk"))
    found = rows.first()
    if found is None:
        raise not_found("message", message_id)
    return found


def visible_approvals(caller: Caller) -> QuerySet[Approval]:
    """The approvals of workflows that a caller sees."""
    rows = Approval.objects.all()
    return rows if caller.sees_all else rows.filter(workflow__in=visible_workflows(caller).values("pk"))


def find_approval(caller: Caller, approval_id: UUID) -> Approval:
    """An approval of a workflow that the caller sees.

    Raises:
        ApiProblem: 404.
    """
    found = visible_approvals(caller).filter(pk=approval_id).first()
    if found is None:
        raise not_found("approval", approval_id)
    return found


def note_origin(caller: Caller, workflow_id: UUID) -> None:
    """Remember, in the transaction that starts a workflow, which token did."""
    if caller.token is not None:
        WorkflowOrigin.objects.create(workflow_id=workflow_id, token=caller.token)
