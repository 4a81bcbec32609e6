"""Who sees a workflow's live page, and what they may do there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.http import Http404

from messaging.operating import Workflow
from nexus_live.models import ShareLink, WorkflowViewer
from nexus_live.sharing import holds

SEES_ALL = ("nexus.view_workflow", "nexus.view_message")
MAY_START = ("nexus.add_workflow", "nexus.add_message")


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Somebody before a live page.

    Args:
        user: who is logged in; None for one who came by a link.
        link: by which the visitor came.
    """

    user: Any = None
    link: ShareLink | None = None

    @property
    def identity(self) -> str:
        """Tells visitors apart; those who came by one link count as one."""
        return f"link:{self.link.pk}" if self.link is not None else f"user:{self.user.pk}"

    def may(self, *permissions: str) -> bool:
        """Whether the visitor may do something besides watching; by a link nobody may."""
        return self.user is not None and self.user.has_perms(permissions)

    @property
    def may_speak(self) -> bool:
        return self.may("nexus.add_message")

    @property
    def may_answer(self) -> bool:
        return self.may("nexus_agents.view_approval", "nexus_agents.change_approval")

    @property
    def may_share(self) -> bool:
        return self.may(*SEES_ALL, "nexus_live.add_sharelink")

    @property
    def may_invite(self) -> bool:
        return self.may(*SEES_ALL, "nexus_live.add_workflowviewer")

    def sees(self, workflow_id: UUID) -> bool:
        """Whether the visitor may see a workflow now; asks the database anew, for pages that last."""
        if self.link is not None:
            link = ShareLink.objects.select_related("created_by").filter(pk=self.link.pk).first()
            return (
                link is not None
                and holds(link)
                and link.workflow_id == workflow_id
                and user_sees(link.created_by, workflow_id)
            )
        user = get_user_model()._default_manager.filter(pk=self.user.pk).first()
        return user is not None and user_sees(user, workflow_id)


def user_sees(user: Any, workflow_id: UUID) -> bool:
    """Whether a user sees a workflow: all of them, or this one."""
    if not user.is_active:
        return False
    return bool(
        user.has_perms(SEES_ALL) or WorkflowViewer.objects.filter(user_id=user.pk, workflow_id=workflow_id).exists()
    )


def find_workflow(visitor: Visitor, workflow_id: UUID) -> Workflow:
    """A workflow that a visitor sees.

    Raises:
        Http404: there is none with that id, or none that this visitor sees.
    """
    workflow = Workflow.objects.filter(pk=workflow_id).first()
    if workflow is None or not visitor.sees(workflow_id):
        raise Http404(f"There is no workflow {workflow_id}.")
    return workflow
