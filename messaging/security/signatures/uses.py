"""How often this process signs with which key: counted in memory, and added to the audit now and then.

A signature is counted when it is made, whether or not its transaction commits. A process that is killed takes the
counts of its last ``EVERY`` seconds with it; each message in the log names its key all the same.
"""

from __future__ import annotations

import atexit
import logging
import os
import socket
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic, time
from typing import NamedTuple

from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Greatest, Least
from django.utils import timezone

from messaging.models import SigningUse
from messaging.transport.muting import may_publish

logger = logging.getLogger("nexus.signing")

EVERY = 10.0
"""Seconds between two times that a process writes what it counted."""

KEPT = timedelta(days=400)
"""How long the audit keeps an hour."""

HOUR = 3_600


class _Counted(NamedTuple):
    """Which signatures are counted together.

    Args:
        kid: the key's name.
        signer: the process identity.
        hour: hours since 1970.
    """

    kid: str
    signer: str
    hour: int


@dataclass(slots=True)
class _Uses:
    """How many there were, and when, in seconds since 1970."""

    count: int
    first: float
    last: float


class _Tally:
    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.lock = threading.Lock()
        self.uses: dict[_Counted, _Uses] = {}
        self.written_at = monotonic()

    def take(self) -> dict[_Counted, _Uses]:
        with self.lock:
            taken, self.uses, self.written_at = self.uses, {}, monotonic()
        return taken

    def add(self, counted: _Counted, count: int, first: float, last: float) -> None:
        with self.lock:
            uses = self.uses.get(counted)
            if uses is None:
                self.uses[counted] = _Uses(count, first, last)
            else:
                uses.count += count
                uses.first, uses.last = min(uses.first, first), max(uses.last, last)


_tally = _Tally()
os.register_at_fork(after_in_child=_tally.reset)  # what the parent counted, the parent writes


def count_use(kid: str, signer: str, count: int = 1) -> None:
    """So many messages were signed (or encrypted, with a key for that); one signature may be of several."""
    if count:
        now = time()
        _tally.add(_Counted(kid, signer, int(now) // HOUR), count, now, now)


def flush_when_due() -> None:
    """Write what was counted if it is time, outside any transaction; a database that fails is asked again later.

    A process that runs tests writes nothing by itself, as it publishes nothing.
    """
    if _tally.uses and monotonic() - _tally.written_at >= EVERY and may_publish():
        flush()


def flush_at_end() -> None:
    """Write what is left before a consumer or the process ends."""
    if _tally.uses and may_publish() and not connection.in_atomic_block:
        flush()


@atexit.register
def _at_exit() -> None:
    if "django.test.utils" not in sys.modules:  # the tests are over, and DATABASES names the real database again
        flush_at_end()


def flush() -> int:
    """Add what was counted to the audit; return how many signatures. What cannot be written is kept for the next time.

    Raises:
        RuntimeError: called within a transaction, which could take the counts back.
    """
    taken = _tally.take()
    try:
        with transaction.atomic(durable=True):
            _write(taken.items())
    except DatabaseError as error:
        logger.warning("How often keys were used is not written, trying again later: %s", str(error).strip())
        for counted, uses in taken.items():
            _tally.add(counted, uses.count, uses.first, uses.last)
        return 0
    return sum(uses.count for uses in taken.values())


def flush_and_prune() -> int:
    """What the relay does: write its own counts and forget the oldest hours. Returns 0: nothing was repaired."""
    flush_when_due()
    SigningUse.objects.filter(hour__lt=timezone.now() - KEPT).delete()
    return 0


def _write(taken: Iterable[tuple[_Counted, _Uses]]) -> None:
    host = socket.gethostname()[:255]
    for counted, uses in sorted(taken, key=lambda pair: pair[0]):  # in one order: two processes never wait in a circle
        first, last = (datetime.fromtimestamp(at, UTC) for at in (uses.first, uses.last))
        row, _ = SigningUse.objects.get_or_create(
            hour=datetime.fromtimestamp(counted.hour * HOUR, UTC),
            kid=counted.kid,
            host=host,
            defaults={"signer": counted.signer, "count": 0, "first_at": first, "last_at": last},
        )
        SigningUse.objects.filter(pk=row.pk).update(
            count=F("count") + uses.count, first_at=Least("first_at", first), last_at=Greatest("last_at", last)
        )
