"""A2ATask: what a chat does not know of itself as a task."""

from __future__ import annotations

from django.db import models


class A2ATask(models.Model):
    """Written in the transaction that starts the chat. Chats that were started otherwise are tasks without a row."""

    workflow_id = models.UUIDField(primary_key=True, editable=False)
    context_id = models.CharField(max_length=200, db_index=True, help_text="Groups the tasks of a client.")

    class Meta:
        db_table = "nexus_a2a_task"
        verbose_name = "A2A task"

    def __str__(self) -> str:
        return str(self.workflow_id)
