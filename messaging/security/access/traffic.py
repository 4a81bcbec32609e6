"""What was sent, read from the log as requests."""

from __future__ import annotations

from datetime import datetime

from messaging.core.ids import uuid7_floor
from messaging.models import Delivery
from messaging.security.access.decision import AccessRequest

CHUNK = 2_000


def logged(since: datetime, limit: int) -> list[AccessRequest]:
    """The latest messages of the log in the order in which they were sent, one request for each delivery.

    Args:
        since: not older than this.
        limit: that many at most, the newest.
    """
    found = (
        Delivery.objects.filter(pk__gte=uuid7_floor(since))
        .order_by("-pk")
        .values_list(
            "message__source", "agent", "message__type", "message__created_at", "message__subject", "workflow_id"
        )
    )
    requests = [
        AccessRequest(
            sender=sender,
            recipient=agent,
            type=type,
            at=at,
            group="" if subject == agent else subject,
            workflow=workflow,
        )
        for sender, agent, type, at, subject, workflow in found[:limit].iterator(chunk_size=CHUNK)
    ]
    requests.reverse()
    return requests
