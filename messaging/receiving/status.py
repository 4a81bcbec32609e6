"""A consumer's word about itself: its heartbeat and its counts, written at most once a second."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Mapping
from datetime import timedelta
from time import monotonic
from uuid import UUID

from django.utils import timezone

from messaging.conf import get_settings
from messaging.core.ids import uuid7
from messaging.core.outcome import Outcome
from messaging.models import WorkerStatus
from messaging.security.signatures import keys, uses

WHEN_BUSY = 1.0
"""Seconds between two writes while the counts change."""

WHEN_IDLE = 5.0
"""Seconds between two writes while nothing happens."""

KEEP = timedelta(days=7)
"""How long the row of a consumer that has ended is kept."""


class StatusWriter:
    """Writes the ``WorkerStatus`` of the calling thread.

    Args:
        partitions: of queues that it reads; 0 for none.
    """

    def __init__(self, partitions: int = 0) -> None:
        self._partitions = partitions
        self._row: WorkerStatus | None = None
        self._written: dict[str, int] = {}
        self._written_at = float("-inf")

    @property
    def id(self) -> UUID | None:
        """Of the row; None before it is written."""
        return self._row.id if self._row is not None else None

    def write(self, outcomes: Mapping[Outcome, int], *, stopped: bool = False) -> None:
        """Write the row, if it is time.

        Args:
            outcomes: the counts so far.
            stopped: the consumer ends: write in any case.

        Raises:
            django.db.Error: the database failed; the next call tries again.
        """
        counts = {outcome.value: count for outcome, count in outcomes.items()}
        (uses.flush_at_end if stopped else uses.flush_when_due)()
        since = monotonic() - self._written_at
        if not stopped and since < (WHEN_IDLE if counts == self._written else WHEN_BUSY):
            return
        now = timezone.now()
        if self._row is None:
            WorkerStatus.objects.filter(heartbeat_at__lt=now - KEEP).delete()
            self._row = WorkerStatus(
                id=uuid7(),
                host=socket.gethostname()[:255],
                pid=os.getpid(),
                thread=threading.current_thread().name[:100],
                started_at=now,
                signing=get_settings().signing,
                signer=get_settings().signer,
                partitions=self._partitions,
            )
            keys.verifying()
        row = self._row
        row.heartbeat_at, row.outcomes = now, counts
        row.signing_problem = keys.known_problem()
        row.stopped_at = now if stopped else None
        row.save()
        self._written, self._written_at = counts, monotonic()
