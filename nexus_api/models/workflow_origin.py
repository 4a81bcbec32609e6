"""WorkflowOrigin: which token started a workflow."""

from __future__ import annotations

from django.db import models

from nexus_api.models.token import ApiToken


class WorkflowOrigin(models.Model):
    """Written in the transaction that starts the workflow."""

    workflow_id = models.UUIDField(primary_key=True, editable=False)
    token = models.ForeignKey(ApiToken, on_delete=models.CASCADE, related_name="origins")

    class Meta:
        db_table = "nexus_api_workflow_origin"

    def __str__(self) -> str:
        return str(self.workflow_id)
