"""Which workflows a caller sees. Rights are part of the query: a foreign workflow is found as little as none at all."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q, QuerySet

from agents.models import ChatSession
from messaging.operating import Workflow
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


def note_origin(caller: Caller, workflow_id: UUID) -> None:
    """Remember, in the transaction that starts a workflow, which token did."""
    if caller.token is not None:
        WorkflowOrigin.objects.create(workflow_id=workflow_id, token=caller.token)
