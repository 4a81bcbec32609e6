"""WorkflowViewer: a user who sees one workflow."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class WorkflowViewer(models.Model):
    """For users who do not see every workflow. What they may do in it, their permissions say as everywhere."""

    workflow_id = models.UUIDField()
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    granted_by = models.CharField(max_length=150)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "nexus_live_workflow_viewer"
        constraints = [
            models.UniqueConstraint(fields=["workflow_id", "user"], name="nexus_live_workflow_viewer_once"),
        ]

    def __str__(self) -> str:
        return f"{self.user} sees {self.workflow_id}"
