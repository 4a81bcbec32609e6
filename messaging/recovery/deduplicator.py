"""MessageDeduplicator: the public face of the processed-ID rows."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from messaging import log
from messaging.conf import get_settings
from messaging.core.arguments import as_uuid, check_seconds, check_text
from messaging.models import ProcessedMessage
from messaging.recovery.pruning import prune_processed_ids

MAX_CONSUMER = 100


class MessageDeduplicator:
    """Remembers which messages a consumer has processed. Durable, and shared by all processes.

    Args:
        consumer: whose processed messages these are, usually an agent's name.
        ttl: seconds for which a message is remembered; None for ``NEXUS["DEDUP_TTL"]``.

    Raises:
        EnvelopeError: one of them, or a message's id, cannot be; says what is expected.
    """

    def __init__(self, consumer: str, *, ttl: float | None = None) -> None:
        check_text("consumer", consumer, MAX_CONSUMER)
        check_seconds("ttl", ttl)
        self.consumer = consumer
        self.ttl = get_settings().dedup_ttl if ttl is None else ttl

    def check_and_mark(self, message_id: UUID) -> bool:
        """Mark a message processed. True when it was not marked before: then, and only then, process it.

        Check and mark are one statement; of any number of callers at once exactly one gets True. Inside a transaction
        the mark commits or rolls back with it.
        """
        message_id, now = as_uuid("message_id", message_id), timezone.now()
        # An expired row no longer counts, whether pruning has come by or not.
        ProcessedMessage.objects.filter(
            message_id=as_uuid("message_id", message_id), consumer=self.consumer, expires_at__lte=now
        ).delete()
        return bool(log.mark_processed_ids([(message_id, self.consumer)], now + timedelta(seconds=self.ttl)))

    def is_processed(self, message_id: UUID) -> bool:
        """Whether the message is marked and remembered."""
        return ProcessedMessage.objects.filter(
            Q(expires_at__gt=timezone.now()), message_id=as_uuid("message_id", message_id), consumer=self.consumer
        ).exists()

    def forget(self, message_id: UUID) -> None:
        """Remove the mark, so that the message can be processed again."""
        ProcessedMessage.objects.filter(message_id=as_uuid("message_id", message_id), consumer=self.consumer).delete()

    @staticmethod
    def cleanup() -> int:
        """Delete expired marks of all consumers, in bounded chunks; return how many. The relay does this by itself."""
        return prune_processed_ids()
