"""What an agent remembers of a workflow."""

from __future__ import annotations

from django.db import models

from messaging.models.workflow import Workflow


class AgentState(models.Model):
    """``context.state``: written in the transaction that settles the message, so it fits the mailbox's counter.

    It goes with its workflow.
    """

    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="states", db_index=False)
    agent = models.CharField(max_length=100)
    data = models.TextField(
        default="{}", help_text="A JSON object as text: PostgreSQL's own JSON cannot hold the NUL that a model may say."
    )
    changed_at = models.DateTimeField()

    class Meta:
        db_table = "nexus_agent_state"
        constraints = [models.UniqueConstraint(fields=["workflow", "agent"], name="nexus_agent_state_unique")]

    def __str__(self) -> str:
        return f"{self.agent} in {self.workflow_id}"
