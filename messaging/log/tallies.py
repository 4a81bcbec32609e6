"""Statements on tallies: counts that commit with what they count."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID, uuid4

from django.db import transaction

from messaging.log import rows
from messaging.models.tally import TOTAL, MetricTally

MAX_AGENTS = 500
"""So many names of agents a process tells apart; it counts the others together."""
OTHERS = "(others)"
FOLDED_AT_ONCE = 10_000


class TallyKey(NamedTuple):
    """What a count is of; see ``Counted``."""

    name: str
    agent: str = ""
    label: str = ""


class _Writer(threading.local):
    """The calling thread, as a writer of rows; another one after a fork."""

    pid = 0
    id: UUID = TOTAL


_writer = _Writer()
_agents: set[str] = {""}


def add_tallies(counts: Mapping[TallyKey, int]) -> None:
    """Add to counts in the transaction that is open.

    Args:
        counts: what happened in it.
    """
    if _writer.pid != os.getpid():
        _writer.pid, _writer.id = os.getpid(), uuid4()
    bounded: Counter[TallyKey] = Counter()
    for key, count in counts.items():
        bounded[key if _is_told_apart(key.agent) else key._replace(agent=OTHERS)] += count
    _add(_writer.id, bounded)


def fold_tallies() -> int:
    """Add the rows of all threads to the totals; return how many rows that were. Ended threads leave none for long.

    A row whose thread is counting just now is left for the next time.
    """
    with transaction.atomic():
        free = MetricTally.objects.exclude(writer=TOTAL).order_by().select_for_update(skip_locked=True)
        found = list(free.values_list("pk", "name", "agent", "label", "value")[:FOLDED_AT_ONCE])
        total: Counter[TallyKey] = Counter()
        for _, name, agent, label, value in found:
            total[TallyKey(name, agent, label)] += value
        MetricTally.objects.filter(pk__in=[row[0] for row in found]).delete()
        _add(TOTAL, total)
    return len(found)


def _is_told_apart(agent: str) -> bool:
    if agent in _agents:
        return True
    if len(_agents) > MAX_AGENTS:
        return False
    _agents.add(agent)
    return True


def _add(writer: UUID, counts: Mapping[TallyKey, int]) -> None:
    # Sorted, so that two relays which fold at once lock the totals in one order.
    new = [(writer, *key, count) for key, count in sorted(counts.items()) if count]
    if new:
        rows.insert(
            "nexus_tally",
            (("writer", "uuid"), ("name", "text"), ("agent", "text"), ("label", "text"), ("value", "bigint")),
            new,
            on_conflict="ON CONFLICT (writer, name, agent, label) DO UPDATE SET"
            " value = nexus_tally.value + excluded.value",
        )
