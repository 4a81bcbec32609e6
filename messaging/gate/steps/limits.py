"""limits: whether a workflow takes more messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from django.utils import timezone

from messaging.conf import get_settings
from messaging.core.errors import UnknownWorkflow, WorkflowClosed, WorkflowLimit
from messaging.gate.draft import Draft, Ground
from messaging.log import WorkflowRow
from messaging.models import OPEN_STATUSES


def limits(drafts: Sequence[Draft], ground: Ground) -> None:
    """Check every workflow once.

    Raises:
        UnknownWorkflow, WorkflowClosed, WorkflowLimit: says which workflow, and what to do.
    """
    for identifier, added in Counter(draft.outgoing.workflow_id for draft in drafts).items():
        _check(ground.workflow(identifier), identifier, added)


def _check(workflow: WorkflowRow | None, identifier: UUID, added: int) -> None:
    if workflow is None:
        raise unknown_workflow(identifier)
    if workflow.status not in OPEN_STATUSES:
        raise WorkflowClosed(f"Workflow {identifier} is {workflow.status} and takes no more messages. Start a new one.")
    if workflow.deadline_at is not None and workflow.deadline_at <= timezone.now():
        raise WorkflowClosed(f"Workflow {identifier} had to be done by {workflow.deadline_at}. Start a new one.")
    limit = workflow.max_messages or get_settings().max_messages_per_workflow
    if workflow.sequence + added > limit:
        raise WorkflowLimit(
            f"Workflow {identifier} has {workflow.sequence} messages and may have {limit}; {added} more were sent. "
            "Raise its max_messages if this is intended."
        )


def unknown_workflow(identifier: UUID) -> UnknownWorkflow:
    """The error that there is no such workflow."""
    return UnknownWorkflow(f"There is no workflow {identifier}. Start one first (bus.start_workflow).")
