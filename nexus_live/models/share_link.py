"""ShareLink: whoever has it may watch a workflow, and nothing else."""

from __future__ import annotations

from uuid import uuid4

from django.conf import settings
from django.db import models


class ShareLink(models.Model):
    """The link itself is this row's id, signed: it cannot be made from a copy of the table. It ends with its maker."""

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    workflow_id = models.UUIDField(db_index=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(db_index=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "nexus_live_share_link"

    def __str__(self) -> str:
        return f"{self.workflow_id} until {self.expires_at:%Y-%m-%d %H:%M}"
