"""Signed checkpoints of the journals, in a file outside of the database.

A chain of hashes does not show that its tail was cut, and whoever may write every table can forge all of it. A
checkpoint writes down how far each journal had come, in lines that are signed and bound to the line before:

    {"payload": "{number, at, previous, heads: {saga: [entries, hash]}, pruned: [saga]}", "signature": JWS}

Many processes may write: the file is locked. A line that a crash left unfinished is taken away by the next one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import IO, Any
from uuid import UUID

from django.utils import timezone

from messaging.conf import get_settings
from messaging.core.errors import BadSignature, ConfigurationError
from messaging.models import SagaRun, TwoPhaseRun
from messaging.security.signatures import jws, keys

HEADS_A_LINE = 1_000
TAIL = 1_048_576
"""Bytes of the file that are read to find out what is written already; several lines."""
OVERLAP = timedelta(minutes=5)
"""A transaction that began before the last checkpoint may commit after it."""

Heads = dict[str, list[Any]]
Problem = tuple[UUID | None, str]


def checkpoint_file() -> Path | None:
    """Where the settings have checkpoints written; None where they do not."""
    name = get_settings().journal_checkpoints
    return Path(name) if name else None


def write_checkpoint(file: Path) -> int:
    """Write down the journals that changed since the last checkpoint; return how many.

    Raises:
        ConfigurationError: signing is off, or the file holds something else.
        OSError: the file cannot be written.
    """
    return _append(file, _changed, ())


def write_pruned(file: Path, runs: Iterable[tuple[UUID, int, str]]) -> None:
    """Write down journals that are to be removed now: (saga or two-phase commit, entries, hash of the last).

    Raises:
        ConfigurationError: signing is off, or the file holds something else.
        OSError: the file cannot be written.
    """
    heads = {str(run): [count, head] for run, count, head in runs}
    _append(file, lambda _: heads.items(), heads)


def _changed(last_at: datetime | None) -> Iterable[tuple[str, list[Any]]]:
    since = {} if last_at is None else {"changed_at__gte": last_at - OVERLAP}
    for model in (SagaRun, TwoPhaseRun):
        changed = model.objects.filter(**since).order_by("pk")
        for run, count, head in changed.values_list("pk", "journal_count", "journal_head").iterator(HEADS_A_LINE):
            yield str(run), [count, head]


def _append(
    file: Path, read: Callable[[datetime | None], Iterable[tuple[str, list[Any]]]], pruned: Iterable[str]
) -> int:
    signer = keys.signing()
    if signer is None:
        raise ConfigurationError("Checkpoints are signed, and signing is off. Set NEXUS_SIGNING to another value.")
    gone, count = set(pruned), 0
    with file.open("a+b") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        number, previous, last_at, known = _tail(opened)
        at = timezone.now()
        new = ((saga, head) for saga, head in read(last_at) if saga in gone or known.get(saga) != head)
        while heads := dict(islice(new, HEADS_A_LINE)):
            number += 1
            members = {"number": number, "at": at.isoformat(), "previous": previous, "heads": heads}
            payload = json.dumps({**members, "pruned": sorted(heads.keys() & gone)})
            line = json.dumps({"payload": payload, "signature": signer.sign(payload.encode())})
            opened.write(line.encode() + b"\n")
            previous = _digest(payload)
            count += len(heads)
        opened.flush()
        os.fsync(opened.fileno())
    return count


def _tail(opened: IO[bytes]) -> tuple[int, str, datetime | None, Heads]:
    """(number, digest, time) of the last line, and the heads of the last lines. Takes an unfinished line away."""
    size = opened.seek(0, os.SEEK_END)
    opened.seek(max(0, size - TAIL))
    block = opened.read()
    finished = block.rfind(b"\n") + 1
    if finished < len(block):
        opened.truncate(size - len(block) + finished)
    lines = block[:finished].splitlines()[0 if size <= TAIL else 1 :]
    known: Heads = {}
    number, previous, at = 0, "", None
    for line in lines:
        try:
            payload = json.loads(line)["payload"]
            members = json.loads(payload)
            number, at = members["number"], datetime.fromisoformat(members["at"])
            known.update(members["heads"])
        except (ValueError, KeyError, TypeError):
            raise ConfigurationError(
                f"{opened.name} holds a line that is no checkpoint. See nexus_transactions verify; move the file away."
            ) from None
        previous = _digest(payload)
    return number, previous, at, known


def _digest(payload: str) -> str:
    return hashlib.sha256(payload.encode()).hexdigest()


class Checkpoints:
    """What a file of checkpoints says.

    ``heads`` has (entries, hash of the last) by the last checkpoint of each saga, ``pruned`` the sagas that were
    removed on purpose, ``problems`` what is wrong with the file.
    """

    def __init__(self) -> None:
        self.heads: dict[UUID, tuple[int, str]] = {}
        self.pruned: set[UUID] = set()
        self.problems: list[Problem] = []


def read_checkpoints(file: Path) -> Checkpoints:
    """Read and verify a file of checkpoints.

    Raises:
        OSError: it cannot be read.
    """
    found, ring = Checkpoints(), keys.verifying()
    expected, previous = 1, ""
    for number, line in _lines(file):
        try:
            signed = json.loads(line)
            payload = signed["payload"]
            jws.verify(signed["signature"], payload.encode(), ring.part_of)
            members = json.loads(payload)
            follows = (members["number"], members["previous"]) == (expected, previous)
            heads = {UUID(saga): (head[0], head[1]) for saga, head in members["heads"].items()}
            pruned = {UUID(saga) for saga in members["pruned"]}
        except (ValueError, KeyError, TypeError, AttributeError, BadSignature) as error:
            found.problems.append((None, f"line {number} of {file} proves nothing: {error}"))
            continue
        if not follows:
            found.problems.append((None, f"line {number} of {file} does not follow the one before it"))
        expected, previous = members["number"] + 1, _digest(payload)
        found.heads.update(heads)
        found.pruned |= pruned
    return found


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """(number, line) of those that were finished."""
    with file.open("rb") as opened:
        for number, line in enumerate(opened, 1):
            if line.endswith(b"\n"):
                yield number, line
