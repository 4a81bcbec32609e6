"""Handlers that wait for a reply."""

from __future__ import annotations

from django.db import models


class AwaitedReply(models.Model):
    """A leased handler waits in ``request`` for longer than a moment. Gone when it waits no more, or with its message.

    It counts as long as the delivery is leased with the same attempt.
    """

    delivery_id = models.UUIDField(help_text="What the handler handles.")
    attempt = models.SmallIntegerField()
    request_id = models.UUIDField(help_text="The message whose reply it waits for.")
    since = models.DateTimeField()

    class Meta:
        db_table = "nexus_awaited_reply"
        constraints = [models.UniqueConstraint(fields=["delivery_id", "request_id"], name="nexus_awaited_reply_unique")]
        indexes = [models.Index(fields=["since"], name="nexus_awaited_reply_since")]

    def __str__(self) -> str:
        return f"{self.delivery_id} waits for {self.request_id}"
