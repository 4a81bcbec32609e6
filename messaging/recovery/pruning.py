"""Removing what has served its time, in bounded chunks."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from messaging.conf import get_settings
from messaging.models import OnceResult, ProcessedMessage

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


def prune_once_results(limit: int = 5_000) -> int:
    """Delete results of ``context.once`` that no redelivery can ask for any more; return how many.

    Args:
        limit: most rows that one call deletes.
    """
    before = timezone.now() - timedelta(seconds=get_settings().dedup_ttl)
    results = OnceResult.objects.filter(created_at__lt=before).order_by("created_at").values_list("pk", flat=True)
    return OnceResult.objects.filter(pk__in=list(results[:limit])).delete()[0]
