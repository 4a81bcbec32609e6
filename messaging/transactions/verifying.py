"""Verifying and exporting the journal of all sagas."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from uuid import UUID

from messaging.models import JournalEntry, SagaRun, TwoPhaseRun
from messaging.transactions.checkpoints import Checkpoints, Problem, read_checkpoints
from messaging.transactions.database import as_lines
from messaging.transactions.journal import JournalLine, problems

CHUNK = 1_000


def _journals() -> Iterator[tuple[UUID, list[JournalLine]]]:
    """(saga, its entries in order) of every saga, without all of them in memory at once."""
    entries = JournalEntry.objects.order_by("workflow_id", "number").iterator(CHUNK)
    for saga, lines in groupby(as_lines(entries), key=lambda line: line.workflow_id):
        yield saga, list(lines)


def verify_all(against: Path | None = None, checkpoints: Path | None = None) -> tuple[int, list[Problem]]:
    """Check every journal.

    Args:
        against: an earlier export, kept where nobody can change it with the database.
        checkpoints: a file of signed checkpoints.

    Returns:
        How many sagas there are, and (saga, or None where a file is wrong; what is wrong).
    """
    rows = {
        row[0]: row[1:]
        for model in (SagaRun, TwoPhaseRun)
        for row in model.objects.values_list("pk", "journal_count", "journal_head", "status").iterator(CHUNK)
    }
    kept = _read_export(against) if against is not None else {}
    written = Checkpoints() if checkpoints is None else read_checkpoints(checkpoints)
    found: list[Problem] = list(written.problems)
    count = len(rows)
    for saga, lines in _journals():
        row = rows.pop(saga, None)
        if row is None:
            found.append((saga, "there is a journal, and no saga"))
        else:
            found += [(saga, problem) for problem in problems(lines, count=row[0], head=row[1], status=row[2])]
        entries, head = written.heads.pop(saga, (0, ""))
        hashes = {line.number: line.hash for line in lines}
        for number, digest in kept.pop(saga, {}).items():
            if hashes.get(number) != digest:
                found.append((saga, f"entry {number} is not there as exported"))
        if entries and hashes.get(entries) != head:
            found.append((saga, f"entry {entries} is not there as the checkpoint says: it was cut, or written anew"))
    for saga in written.heads.keys() - written.pruned:
        found.append((saga, "there was a journal at the last checkpoint, and is none any more"))
    for saga in rows:
        found.append((saga, "its journal is gone"))
    for saga in kept:
        found.append((saga, "the exported journal is not there any more"))
    return count, found


def _read_export(file: Path) -> dict[UUID, dict[int, str]]:
    kept: dict[UUID, dict[int, str]] = {}
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            kept.setdefault(UUID(entry["workflow_id"]), {})[entry["number"]] = entry["hash"]
    return kept


def export_journal(file: Path) -> int:
    """Append every entry to a file, as a line of JSON; return how many."""
    count = 0
    with file.open("a", encoding="utf-8") as output:
        for _, lines in _journals():
            for line in lines:
                output.write(json.dumps(line.data(), ensure_ascii=False) + "\n")
                count += 1
        output.flush()
        os.fsync(output.fileno())
    return count
