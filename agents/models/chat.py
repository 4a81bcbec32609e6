"""Chats: a session for each, and its transcript."""

from __future__ import annotations

from django.db import models


class ChatStatus(models.TextChoices):
    RUNNING = "running"
    ENDED = "ended"
    CANCELLED = "cancelled"


class ChatSession(models.Model):
    """One row per chat. Only the chat manager's handler changes its state, in the transaction that settles its message.

    The workflow is the chat's own. Its foreign key has no database constraint, so that transcripts may outlive the log.
    """

    workflow = models.OneToOneField(
        "nexus.Workflow", primary_key=True, on_delete=models.DO_NOTHING, db_constraint=False, related_name="chat"
    )
    team = models.CharField(max_length=200)
    definition = models.TextField(help_text="The team's definition at the start, as JSON.")
    state = models.TextField(help_text="The chat's state as JSON.")
    status = models.CharField(max_length=9, choices=ChatStatus, default=ChatStatus.RUNNING)
    reason = models.TextField(blank=True, default="", help_text="Why it is over.")
    messages = models.IntegerField(default=0, help_text="Entries in the transcript.")
    wake_at = models.DateTimeField(null=True, blank=True, help_text="The next deadline.")
    forked_from = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, db_constraint=False, related_name="forks"
    )
    forked_after = models.IntegerField(null=True, blank=True, help_text="The last entry that was taken over.")
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "nexus_chat_session"
        constraints = [
            models.CheckConstraint(condition=models.Q(status__in=ChatStatus.values), name="nexus_chat_session_status")
        ]
        indexes = [
            models.Index(
                fields=["wake_at"],
                name="nexus_chat_session_wake",
                condition=models.Q(status="running", wake_at__isnull=False),
            ),
            models.Index(fields=["created_at"], name="nexus_chat_session_created"),
            models.Index(fields=["team", "workflow"], name="nexus_chat_session_team"),
            models.Index(fields=["status", "workflow"], name="nexus_chat_session_of_status"),
        ]

    def __str__(self) -> str:
        return f"{self.team} ({str(self.pk)[-8:]})"


class ChatEntry(models.Model):
    """One entry of a transcript. Written once and never changed."""

    session = models.ForeignKey(ChatSession, on_delete=models.CASCADE, db_index=False, related_name="entries")
    path = models.CharField(max_length=100, blank=True, default="", help_text="Empty, or the sub-chat's place.")
    number = models.IntegerField()
    speaker = models.CharField(max_length=100)
    kind = models.CharField(max_length=10)
    body = models.TextField(help_text="The entry as JSON.")
    snapshot = models.TextField(blank=True, default="", help_text="The chat's state behind it: it can be forked here.")

    class Meta:
        db_table = "nexus_chat_entry"
        verbose_name_plural = "chat entries"
        ordering = ["session", "path", "number"]
        constraints = [models.UniqueConstraint(fields=["session", "path", "number"], name="nexus_chat_entry_number")]

    def __str__(self) -> str:
        return f"{self.number} {self.speaker}"
