"""The receiving gate: its steps, read top to bottom.

    identify ▶ parse ▶ match ▶ authenticate ▶ decrypt ▶ validate ▶ inspect   before the transaction
    authorize ▶ accept                                                      in it: the answer must hold until the commit

Each step stands in a file of its own, takes all passages of a batch that were not stopped yet, so that whatever it has
to look up is looked up once, and lets each go on or sets its ``stop``. It raises nothing but database errors: those
belong to no passage, and the batch is tried again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from django.db import Error as DatabaseError

from messaging.core.describing import name_of
from messaging.core.outcome import Outcome
from messaging.gate.passage import Passage, Stop
from messaging.gate.steps.accept import accept
from messaging.gate.steps.authenticate import authenticate, authenticate_in_advance
from messaging.gate.steps.authorize import authorize
from messaging.gate.steps.decrypt import decrypt
from messaging.gate.steps.identify import identify
from messaging.gate.steps.inspect import inspect, recall
from messaging.gate.steps.match import match
from messaging.gate.steps.parse import parse
from messaging.gate.steps.validate import validate
from messaging.models import DeadReason

logger = logging.getLogger("nexus.gate")

Step = Callable[[Sequence[Passage]], None]

RECEIVING: tuple[Step, ...] = (
    identify,
    parse,
    match,
    authenticate,
    decrypt,
    validate,
    inspect,
)

IN_TRANSACTION: tuple[Step, ...] = (authorize, accept)
"""Steps whose answer must still be true when the transaction commits that acts on it. They know whose delivery it is
(``Passage.agent``)."""


_ON_NEW: Mapping[Step, Step] = {authenticate: authenticate_in_advance, inspect: recall}


def admit(passages: Sequence[Passage]) -> None:
    """Run the steps; afterwards each passage either has its envelope or its ``stop``.

    Raises:
        django.db.Error: the database failed.
    """
    _run_all(RECEIVING, passages)


def admit_in_advance(passages: Sequence[Passage]) -> None:
    """The same for what is handled in a transaction that asks itself whether the keys are still the same
    (``Passage.keys``): one round trip less.

    Raises:
        django.db.Error: the database failed.
    """
    _run_all([authenticate_in_advance if step is authenticate else step for step in RECEIVING], passages)


def admit_again(passages: Sequence[Passage]) -> None:
    """Run the steps without judging anything: inside the transaction that handles what is read from the log, as
    verdicts commit before it, and in the relay, which no rule may end. What was not judged yet comes back ``unjudged``,
    and may not be handled.

    Raises:
        django.db.Error: the database failed.
    """
    _run_all([recall if step is inspect else step for step in RECEIVING], passages)


def admit_new(passages: Sequence[Passage]) -> None:
    """Run the steps on what the transaction that is open has just made: nothing is judged, as in ``admit_again``, and
    the transaction knows whether the keys are still the same, as in ``admit_in_advance``.

    Raises:
        django.db.Error: the database failed.
    """
    _run_all([_ON_NEW.get(step, step) for step in RECEIVING], passages)


def admit_in_transaction(passages: Sequence[Passage]) -> list[Passage]:
    """Run the steps of the transaction that is open, on passages that were admitted; return those that were stopped.

    A stop from an earlier transaction, which was rolled back, is forgotten.

    Raises:
        django.db.Error: the database failed.
    """
    for passage in passages:
        passage.stop = None
    _run_all(IN_TRANSACTION, passages)
    return [passage for passage in passages if passage.stop is not None]


def admit_each(passages: Sequence[Passage]) -> list[Passage]:
    """Run the steps; return those that may go on."""
    admit(passages)
    return [passage for passage in passages if passage.stop is None]


def _run_all(steps: Sequence[Step], passages: Sequence[Passage]) -> None:
    for step in steps:
        going = [passage for passage in passages if passage.stop is None]
        if going:
            _run(step, going)


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
