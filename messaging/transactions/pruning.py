"""Removing the journals of sagas that ended long ago. What they were is written down outside first."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from messaging.core.errors import ConfigurationError
from messaging.models import OPEN_SAGAS, JournalEntry, SagaRun, StepRecord
from messaging.transactions.checkpoints import checkpoint_file, write_pruned

CHUNK = 500


def prune_sagas(age: timedelta) -> int:
    """Delete sagas that ended longer ago, with their steps' records and their journals; return how many.

    Raises:
        ConfigurationError: no file for checkpoints is set, or signing is off.
        OSError: the file cannot be written; nothing of that chunk was deleted.
    """
    file = checkpoint_file()
    if file is None:
        raise ConfigurationError(
            "Journals are removed only when their ends are kept elsewhere. Set NEXUS_JOURNAL_CHECKPOINTS to a file."
        )
    ended = SagaRun.objects.filter(changed_at__lt=timezone.now() - age).exclude(status__in=OPEN_SAGAS)
    count = 0
    while chunk := list(ended.order_by("pk").values_list("pk", "journal_count", "journal_head")[:CHUNK]):
        write_pruned(file, chunk)
        ids = [row[0] for row in chunk]
        with transaction.atomic():
            JournalEntry.objects.filter(workflow_id__in=ids).delete()
            StepRecord.objects.filter(saga_id__in=ids).delete()
            SagaRun.objects.filter(pk__in=ids).delete()
        count += len(ids)
    return count
