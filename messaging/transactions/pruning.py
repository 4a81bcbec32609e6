"""Removing the journals of sagas and two-phase commits that ended long ago. What they were is written outside first."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from messaging.core.errors import ConfigurationError
from messaging.models import OPEN_SAGAS, OPEN_TWO_PHASE, JournalEntry, SagaRun, StepRecord, TwoPhaseRun
from messaging.transactions.checkpoints import checkpoint_file, write_pruned
from messaging.transactions.two_phase.operating import in_doubt

CHUNK = 500


def prune_sagas(age: timedelta) -> int:
    """Delete sagas that ended longer ago, with their steps' records and their journals; return how many.

    Raises:
        ConfigurationError: no file for checkpoints is set, or signing is off.
        OSError: the file cannot be written; nothing of that chunk was deleted.
    """
    file, before, count = _file(), timezone.now() - age, 0
    while chunk := _delete_chunk(file, SagaRun.objects.filter(changed_at__lt=before).exclude(status__in=OPEN_SAGAS)):
        count += chunk
    return count


def prune_two_phase(age: timedelta) -> int:
    """Delete two-phase commits that ended longer ago, with their journals; return how many.

    Those stay of which something is still prepared: their decision is all that tells how it is to end.

    Raises:
        ConfigurationError: no file for checkpoints is set, signing is off, or a database cannot be asked.
        OSError: the file cannot be written; nothing of that chunk was deleted.
    """
    file, before, count = _file(), timezone.now() - age, 0
    ended = TwoPhaseRun.objects.filter(changed_at__lt=before).exclude(status__in=OPEN_TWO_PHASE)
    if not ended.exists():
        return 0
    prepared, problems = in_doubt()
    if problems:
        raise ConfigurationError(
            f"No two-phase commit was removed: who knows what is still prepared there? {'; '.join(problems)}."
        )
    kept = [UUID(each.run) for each in prepared if each.run]
    while chunk := _delete_chunk(file, ended.exclude(pk__in=kept)):
        count += chunk
    return count


def _file() -> Path:
    file = checkpoint_file()
    if file is None:
        raise ConfigurationError(
            "Journals are removed only when their ends are kept elsewhere. Set NEXUS_JOURNAL_CHECKPOINTS to a file."
        )
    return file


def _delete_chunk(file: Path, ended: QuerySet[SagaRun] | QuerySet[TwoPhaseRun]) -> int:
    chunk = list(ended.order_by("pk").values_list("pk", "journal_count", "journal_head")[:CHUNK])
    if not chunk:
        return 0
    write_pruned(file, chunk)
    ids = [row[0] for row in chunk]
    with transaction.atomic():
        JournalEntry.objects.filter(workflow_id__in=ids).delete()
        StepRecord.objects.filter(saga_id__in=ids).delete()
        ended.model.objects.filter(pk__in=ids).delete()
    return len(ids)
