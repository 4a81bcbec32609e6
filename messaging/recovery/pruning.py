"""Removing what has served its time, in bounded chunks."""

from __future__ import annotations

from django.utils import timezone

from messaging.conf import get_settings
from messaging.models import ProcessedMessage

CHUNKS_AT_ONCE = 20


def prune_processed_ids() -> int:
    """Delete expired processed-ID rows; return how many. Each chunk is a transaction of its own."""
    chunk = get_settings().prune_chunk
    deleted = 0
    for _ in range(CHUNKS_AT_ONCE):
        expired = list(
            ProcessedMessage.objects.filter(expires_at__lte=timezone.now())
            .order_by("expires_at")
            .values_list("pk", flat=True)[:chunk]
        )
        if expired:
            ProcessedMessage.objects.filter(pk__in=expired).delete()
        deleted += len(expired)
        if len(expired) < chunk:
            break
    return deleted
