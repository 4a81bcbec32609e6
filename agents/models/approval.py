"""Approval: something waits for a person."""

from __future__ import annotations

from django.db import models


class ApprovalStatus(models.TextChoices):
    WAITING = "waiting"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"  # it needs no answer any more: its deadline passed, or its chat is over


class ApprovalPurpose(models.TextChoices):
    APPROVAL = "approval", "approval: may this go on?"
    INPUT = "input", "input: what do you say?"
    SPEAKER = "speaker", "speaker: who speaks next?"


class Approval(models.Model):
    """Something that waits for a person. Answer it with ``agents.answer_approval`` or in the admin.

    The answer is sent to ``reply_to`` in the same transaction.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    workflow = models.ForeignKey(
        "nexus.Workflow", on_delete=models.DO_NOTHING, db_constraint=False, related_name="approvals"
    )
    key = models.CharField(max_length=200, help_text="What it is for; unique in its workflow.")
    reply_to = models.CharField(max_length=100, help_text="The agent that gets the answer.")
    purpose = models.CharField(max_length=8, choices=ApprovalPurpose)
    member = models.CharField(max_length=100, blank=True, default="", help_text="Whose message or turn it is.")
    question = models.TextField()
    content = models.TextField(blank=True, default="", help_text="What is to be approved, or was said before.")
    options = models.JSONField(default=list, blank=True)
    deadline_at = models.DateTimeField(null=True, blank=True)
    status = models.CharField(max_length=9, choices=ApprovalStatus, default=ApprovalStatus.WAITING)
    answer = models.TextField(blank=True, default="")
    answered_by = models.CharField(max_length=150, blank=True, default="")
    answered_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "nexus_approval"
        constraints = [
            models.UniqueConstraint(fields=["workflow", "key"], name="nexus_approval_key"),
            models.CheckConstraint(condition=models.Q(status__in=ApprovalStatus.values), name="nexus_approval_status"),
        ]
        indexes = [
            models.Index(fields=["created_at"], name="nexus_approval_waiting", condition=models.Q(status="waiting"))
        ]

    def __str__(self) -> str:
        return f"{self.get_purpose_display()} {self.member}"
