"""The receiving gate: its steps, read top to bottom.

    identify ▶ parse ▶ match ▶ authenticate

Each step stands in a file of its own, takes all passages of a batch that were not stopped yet, so that whatever it has
to look up is looked up once, and lets each go on or sets its ``stop``. It raises nothing but database errors: those
belong to no passage, and the batch is tried again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from django.db import Error as DatabaseError

from messaging.core.describing import name_of
from messaging.core.outcome import Outcome
from messaging.gate.passage import Passage, Stop
from messaging.gate.steps.authenticate import authenticate
from messaging.gate.steps.identify import identify
from messaging.gate.steps.match import match
from messaging.gate.steps.parse import parse
from messaging.models import DeadReason

logger = logging.getLogger("nexus.gate")

Step = Callable[[Sequence[Passage]], None]

RECEIVING: tuple[Step, ...] = (
    identify,
    parse,
    match,
    authenticate,
)


def admit(passages: Sequence[Passage]) -> None:
    """Run the steps; afterwards each passage either has its envelope or its ``stop``.

    Raises:
        django.db.Error: the database failed.
    """
    for step in RECEIVING:
        going = [passage for passage in passages if passage.stop is None]
        if going:
            _run(step, going)


def admit_each(passages: Sequence[Passage]) -> list[Passage]:
    """Run the steps; return those that may go on."""
    admit(passages)
    return [passage for passage in passages if passage.stop is None]


def _run(step: Step, passages: Sequence[Passage]) -> None:
    """Run one step. A defect in it stops the passages that it fails for: checks fail closed, and stop no worker."""
    try:
        step(passages)
    except DatabaseError:
        raise
    except Exception as error:  # a check that fails is a refusal of what it could not check, and of nothing else
        if len(passages) > 1:
            for passage in passages:
                if passage.stop is None:
                    _run(step, [passage])
            return
        logger.exception("The check %s failed.", step.__name__)
        passages[0].stop = Stop(
            Outcome.DEAD,
            DeadReason.CHECK_FAILED,
            f"The check {step.__name__!r} raised {name_of(error)}, so the message is not handled. The worker's log has "
            "the traceback; replay the dead letter once the check is mended.",
        )
