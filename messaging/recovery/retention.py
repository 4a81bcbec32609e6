"""Retention: removing messages that have served their time, in bounded chunks, archived first if asked.

A message goes when it is older than asked *and* nothing can need it any more: every delivery of it is settled for good
and counted in its mailbox (or its workflow has ended), and none of its dead letters is open. Each chunk is a
transaction of its own that skips rows somebody else holds, so nothing waits for it.

    find a chunk ▶ lock it ▶ write it to the archive and flush ▶ delete it ▶ commit

A crash between the last two leaves lines in the archive of messages that are still there: they are archived again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from messaging.conf import get_settings
from messaging.core.errors import ConfigurationError
from messaging.core.ids import message_id_of, uuid7_floor
from messaging.core.numbers import MAX_SECONDS
from messaging.models import (
    FINAL_STATES,
    OPEN_STATUSES,
    DeadLetter,
    DeadLetterStatus,
    Delivery,
    Message,
    ProcessedMessage,
    Workflow,
)

NOT_BEFORE: UUID = UUID(int=0)


@dataclass(slots=True)
class Pruned:
    """How many rows went."""

    messages: int = 0
    deliveries: int = 0
    workflows: int = 0


def check_age(age: timedelta) -> None:
    """Refuse an age at which copies of a message may still be on their way.

    Raises:
        ConfigurationError: says the least that is safe.
    """
    least = timedelta(seconds=get_settings().shortest_safe_dedup_ttl)
    if age.total_seconds() > MAX_SECONDS:
        raise ConfigurationError(
            f"{age} is more than ten years. Choose an age of {MAX_SECONDS / 86_400:.0f} days at most."
        )
    if age < least:
        raise ConfigurationError(
            f"Messages younger than {least} may arrive again, or be replayed (retries, gap timeout and "
            f"NEXUS_REPLAY_HORIZON together). Choose an age from {least.total_seconds() / 86_400:.2f} days on."
        )


def prunable(cutoff: datetime) -> QuerySet[Message]:
    """Messages from before a time that nothing needs any more, the oldest first."""
    needed = Delivery.objects.filter(message=OuterRef("pk")).filter(
        ~Q(state__in=FINAL_STATES) | Q(position__gt=F("mailbox__processed"), workflow__status__in=OPEN_STATUSES)
    )
    disputed = DeadLetter.objects.filter(delivery__message=OuterRef("pk"), status=DeadLetterStatus.OPEN)
    old = Message.objects.filter(pk__lt=message_id_of(uuid7_floor(cutoff)))
    return old.filter(~Exists(needed), ~Exists(disputed)).order_by("pk")


def prune_messages(
    age: timedelta, *, archive: Path | None = None, most: int | None = None, now: datetime | None = None
) -> Pruned:
    """Delete old messages with their deliveries, and ended workflows that have none left.

    Args:
        age: only what was sent longer ago.
        archive: a file to which every message is appended as a line of JSON before it goes.
        most: messages to delete at most; None for all.
        now: the present time.

    Raises:
        ConfigurationError: the age is not safe.
        OSError: the archive cannot be written; nothing of that chunk was deleted.
    """
    check_age(age)
    cutoff = (now or timezone.now()) - age
    done = Pruned()
    after = NOT_BEFORE
    file = archive.open("a", encoding="utf-8") if archive is not None else None
    try:
        while most is None or done.messages < most:
            chunk = (
                get_settings().prune_chunk if most is None else min(get_settings().prune_chunk, most - done.messages)
            )
            last = _prune_chunk(cutoff, after, chunk, file, done)
            if last is None:
                break
            after = last
    finally:
        if file is not None:
            file.close()
    done.workflows = _prune_workflows(cutoff)
    return done


def _prune_chunk(cutoff: datetime, after: UUID, size: int, file: IO[str] | None, done: Pruned) -> UUID | None:
    """Delete one chunk behind an id; return its last id, or None when there was nothing."""
    with transaction.atomic():
        found = list(
            prunable(cutoff).filter(pk__gt=after).select_for_update(no_key=True, skip_locked=True, of=("self",))[:size]
        )
        if not found:
            return None
        if file is not None:
            _archive(found, file)
        ids = [message.pk for message in found]
        _, deleted = Delivery.objects.filter(
            pk__gt=ids[0], pk__lte=found[-1].last_delivery_id, message__in=ids
        ).delete()
        ProcessedMessage.objects.filter(message_id__in=ids).delete()
        Message.objects.filter(pk__in=ids).delete()
    done.messages += len(ids)
    done.deliveries += deleted.get(Delivery._meta.label, 0)
    return ids[-1]


def _archive(messages: Sequence[Message], file: IO[str]) -> None:
    for message in messages:
        line = {
            "id": str(message.pk),
            "workflow": str(message.workflow_id),
            "sequence": message.sequence,
            "created_at": message.created_at.isoformat(),
            "envelope": bytes(message.envelope).decode(),
            "signature": message.signature,
        }
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
    file.flush()
    os.fsync(file.fileno())


def _prune_workflows(cutoff: datetime) -> int:
    """Delete workflows that ended before a time and have no messages; return how many."""
    messages = Message.objects.filter(workflow=OuterRef("pk"))
    disputed = DeadLetter.objects.filter(workflow=OuterRef("pk"), status=DeadLetterStatus.OPEN)
    ended = Workflow.objects.filter(ended_at__lt=cutoff).exclude(status__in=OPEN_STATUSES)
    count = 0
    while True:
        chunk = list(
            ended.filter(~Exists(messages), ~Exists(disputed)).values_list("pk", flat=True)[
                : get_settings().prune_chunk
            ]
        )
        if not chunk:
            return count
        with transaction.atomic():
            Workflow.objects.filter(pk__in=chunk).delete()
        count += len(chunk)
