"""Retention: removing messages that have served their time, in bounded chunks, archived first if asked.

A message goes when it is older than asked *and* nothing can need it any more: every delivery of it is settled for good
and counted in its mailbox (or its workflow has ended), and none of its dead letters is open. Each chunk is a
transaction of its own that skips rows somebody else holds, so nothing waits for it.

    find a chunk ▶ begin, lock it ▶ write it to the archive and flush ▶ delete it ▶ commit

A crash between the last two leaves lines in the archive of messages that are still there: they are archived again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import IO
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from messaging.conf import get_settings
from messaging.core.errors import ConfigurationError
from messaging.core.ids import message_id_of, uuid7_floor
from messaging.core.numbers import MAX_SECONDS
from messaging.log import rows
from messaging.models import (
    FINAL_STATES,
    OPEN_STATUSES,
    DeadLetter,
    DeadLetterStatus,
    Delivery,
    EndorsementKind,
    ForeignArrival,
    LabelEndorsement,
    Message,
    ProcessedMessage,
    Verdict,
    Workflow,
)
from messaging.receiving.inbox.arriving import CLOCK_SLACK

NOT_BEFORE: UUID = UUID(int=0)

MAX_CHUNK_SQLITE = 200
"""Messages that one transaction deletes on SQLite, where nobody else writes meanwhile."""


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


def count_prunable(cutoff: datetime) -> int:
    """How many messages from before a time nothing needs any more."""
    count, after = 0, NOT_BEFORE
    while True:
        chunk = _look(cutoff, after, get_settings().prune_chunk)
        if chunk is None:
            return count
        count += len(chunk.unneeded)
        after = chunk.last


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Old messages that stand behind each other.

    Args:
        last: id of the last one.
        unneeded: ids of those that nothing needs any more.
    """

    last: UUID
    unneeded: list[UUID]


def _look(cutoff: datetime, after: UUID, size: int) -> _Chunk | None:
    """Look at the next old messages behind an id; None when there are none.

    Deliveries have their messages' ids with a number behind, so all that belongs to a chunk is a range of the primary
    key. Nothing is locked: what is not needed any more is never needed again.
    """
    old = Message.objects.filter(pk__gt=after, pk__lt=message_id_of(uuid7_floor(cutoff))).order_by("pk")
    ids = list(old.values_list("pk", flat=True)[:size])
    if not ids:
        return None
    last = Message(id=ids[-1]).last_delivery_id
    deliveries = Delivery.objects.filter(pk__gt=ids[0], pk__lte=last)
    needed = deliveries.filter(
        ~Q(state__in=FINAL_STATES) | Q(position__gt=F("mailbox__processed"), workflow__status__in=OPEN_STATUSES)
    )
    disputed = deliveries.filter(dead_letters__status=DeadLetterStatus.OPEN)
    kept = {*needed.values_list("message_id", flat=True), *disputed.values_list("message_id", flat=True)}
    return _Chunk(ids[-1], [identifier for identifier in ids if identifier not in kept])


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
            size = MAX_CHUNK_SQLITE if connection.vendor == "sqlite" else get_settings().prune_chunk
            chunk = _look(cutoff, after, min(size, size if most is None else most - done.messages))
            if chunk is None:
                break
            if chunk.unneeded:
                began = monotonic()
                _prune_chunk(chunk.unneeded, file, done)
                if connection.vendor == "sqlite":  # whose locks are not fair: leave the others as long as was taken
                    sleep(monotonic() - began)
            after = chunk.last
    finally:
        if file is not None:
            file.close()
    done.workflows = _prune_workflows(cutoff)
    _prune_arrivals(cutoff)
    return done


def _prune_chunk(unneeded: Sequence[UUID], file: IO[str] | None, done: Pruned) -> None:
    """Delete messages, but for those that somebody else is deleting."""
    with transaction.atomic():
        wanted = Message.objects.filter(pk__in=unneeded).order_by("pk")
        found = list(wanted.select_for_update(no_key=True, skip_locked=True))
        if not found:
            return
        if file is not None:
            _archive(found, file)
        ids = [message.pk for message in found]
        last = found[-1].last_delivery_id
        chosen = list(
            Delivery.objects.filter(pk__gt=ids[0], pk__lte=last, message__in=ids).values_list("pk", flat=True)
        )
        # What Django's own delete would do, which loads every row.
        DeadLetter.objects.filter(delivery_id__in=chosen).update(delivery=None)
        Verdict.objects.filter(delivery_id__in=chosen).delete()
        rows.delete_by_id("nexus_delivery", chosen)
        ProcessedMessage.objects.filter(message_id__in=ids).delete()
        # What people decided stays; a typed extraction is nothing without its message.
        LabelEndorsement.objects.filter(message_id__in=ids, kind=EndorsementKind.EXTRACTION).delete()
        rows.delete_by_id("nexus_message", ids)
    done.messages += len(ids)
    done.deliveries += len(chosen)


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


def _prune_arrivals(cutoff: datetime) -> None:
    """Forget events from outside whose messages are gone, once their age alone has them refused."""
    forgotten = timezone.now() - timedelta(seconds=get_settings().dedup_ttl) - 2 * CLOCK_SLACK
    old = ForeignArrival.objects.filter(received_at__lt=min(cutoff, forgotten))
    gone = old.filter(~Exists(Message.objects.filter(pk=OuterRef("message_id"))))
    while True:
        chunk = list(gone.values_list("pk", flat=True)[: get_settings().prune_chunk])
        if not chunk:
            return
        ForeignArrival.objects.filter(pk__in=chunk).delete()
