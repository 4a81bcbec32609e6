"""Bulk runs over dead letters, as a Celery task."""

from __future__ import annotations

import logging
import time
from typing import Any
from uuid import UUID

from celery import shared_task
from django.db import OperationalError, connection
from kombu.exceptions import KombuError

from messaging.core.arguments import as_uuid
from messaging.operators import bulk
from messaging.tasks.operations import SURVIVES_ITS_WORKER

logger = logging.getLogger("nexus.tasks")

TURN = 60.0
"""Seconds after which a run goes on as a new delivery of its task: RabbitMQ takes back what is not acknowledged for
half an hour, and a worker that is asked to stop waits for what it is at."""
MAX_TURNS = 10_000
AFTER_AN_ERROR = 10.0
"""Seconds after which a run is tried again that lost the database."""
REPORT_EVERY = 1.0


@shared_task(name="nexus.resolve_in_bulk", bind=True, **SURVIVES_ITS_WORKER)  # type: ignore[untyped-decorator]
def resolve_in_bulk(self: Any, run: str) -> dict[str, Any]:
    """Replay or discard the dead letters of a bulk run. Begun again in the middle, it goes on where it was.

    Args:
        run: id of the run.

    Returns:
        How many were resolved, how many could not be, and what was wrong with the first of those.
    """
    identifier = as_uuid("run", run)
    started = reported = time.monotonic()
    try:
        while (wait := bulk.step(identifier)) is not None:
            now = time.monotonic()
            if now - started > TURN:
                raise self.retry(countdown=0, max_retries=MAX_TURNS)
            if now - reported > REPORT_EVERY and self.request.id:
                reported = now
                self.update_state(state="PROGRESS", meta=bulk.progress(identifier))
            time.sleep(wait)
    except OperationalError as error:
        connection.close()
        raise self.retry(exc=error, countdown=AFTER_AN_ERROR, max_retries=MAX_TURNS) from error
    return bulk.progress(identifier)


def send_run(run: UUID) -> str:
    """Have a worker go on with a run; harmless when one is at it already.

    Returns:
        What was wrong, or nothing.
    """
    try:
        resolve_in_bulk.apply_async(args=[str(run)], retry=False)
    except (KombuError, OSError) as error:
        logger.warning("Bulk run %s could not be sent to a worker: %s", run, error)
        return f"It is stored, but no worker could be told of it ({error}). Press Go on once the broker works."
    return ""
