"""A batch of deliveries of transactional agents, from admission to settled.

First all together in one transaction; again without those whose handlers fail, which are handled alone. Where
something else fails, or where a delivery is suspect of having killed a worker, one by one: then every failure belongs
to exactly one delivery.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from django.db import Error as DatabaseError
from django.db import OperationalError, connection

from messaging import log
from messaging.brokers import ReceivedMessage
from messaging.core.errors import NexusError
from messaging.core.outcome import Outcome
from messaging.models import DeadReason
from messaging.receiving import execution, settling
from messaging.receiving.pipeline import Incoming, Refused

logger = logging.getLogger("nexus.receiving")

MOST_ROUNDS = 8
"""How often a batch is tried again without a delivery whose handler failed. Then each is handled alone."""

POSTPONE = 1.0
"""Seconds until a delivery whose workflow stays locked is tried again."""


class DatabaseUnavailable(NexusError):
    """The database cannot be reached.

    Nothing of the batch is lost: it is tried again, or handed out by the broker again.
    """


@dataclass(slots=True)
class Settled:
    """What became of a batch.

    Args:
        counts: how many deliveries had which outcome.
        publish: what is to be published now.
        refused: messages for the dead-letter queue.
    """

    counts: Counter[Outcome] = field(default_factory=Counter)
    publish: list[log.StoredDelivery] = field(default_factory=list)
    refused: list[tuple[ReceivedMessage, Refused]] = field(default_factory=list)

    def add(self, handled: execution.Handled) -> None:
        self.counts.update(handled.counts)
        self.publish += handled.publish
        for incoming in handled.unknown:
            self.refuse(
                incoming,
                DeadReason.UNKNOWN_DELIVERY,
                f"The log has no delivery {incoming.delivery_id} in its workflow.",
            )

    def refuse(self, incoming: Incoming, reason: DeadReason, detail: str) -> None:
        if incoming.received is not None:
            self.refused.append((incoming.received, Refused(reason, detail)))


def check_database(error: DatabaseError) -> None:
    """Tell a broken connection from a failed statement.

    Raises:
        DatabaseUnavailable: the connection is of no more use.
    """
    if connection.connection is None or not connection.is_usable():
        connection.close()
        raise DatabaseUnavailable(f"The database cannot be reached: {error}") from error


def settle_batch(batch: Sequence[Incoming]) -> Settled:
    """Handle deliveries and make every outcome durable.

    Raises:
        DatabaseUnavailable: try the whole batch again later; what was committed shows up as duplicates then.
    """
    settled = Settled()
    stuck: set[UUID] = set()
    fresh = [incoming for incoming in batch if not incoming.suspect]
    suspects = [incoming for incoming in batch if incoming.suspect]
    if fresh:
        _settle_together(fresh, settled, stuck, charged=False)
    if len(suspects) > 1:
        suspects = _settle_innocent(suspects, settled, stuck)
    for incoming in suspects:
        _settle_suspect(incoming, settled, stuck)
    return settled


def _settle_innocent(suspects: Sequence[Incoming], settled: Settled, stuck: set[UUID]) -> list[Incoming]:
    """Handle those together that were never tried; return the others."""
    try:
        counted = settling.charge_together({incoming.delivery_id for incoming in suspects})
    except DatabaseError as error:
        check_database(error)
        raise
    innocent = [incoming for incoming in suspects if incoming.delivery_id in counted]
    if innocent:
        _settle_together(innocent, settled, stuck, charged=True)
    return [incoming for incoming in suspects if incoming.delivery_id not in counted]


def _settle_together(batch: Sequence[Incoming], settled: Settled, stuck: set[UUID], *, charged: bool) -> None:
    """Handle a batch in one transaction, and alone afterwards what is left: failed handlers, busy workflows."""
    alone: list[Incoming] = []
    with_successors = True
    for _ in range(MOST_ROUNDS):
        if not batch:
            break
        try:
            handled = execution.handle(batch, wait=False, with_successors=with_successors)
        except execution.HandlerFailed as failure:
            if isinstance(failure.error, DatabaseError):
                check_database(failure.error)
                break  # perhaps it is an earlier handler of the batch that is to blame
            logger.info("A handler failed in a batch of %d: %s", len(batch), failure)
            culprits = [incoming for incoming in batch if incoming.delivery_id == failure.ready.row.id]
            # Without any, it is a held delivery that the batch took along; it will come by itself.
            with_successors = with_successors and bool(culprits)
            alone += culprits
            batch = [incoming for incoming in batch if incoming.delivery_id != failure.ready.row.id]
        except (NexusError, DatabaseError) as error:
            if isinstance(error, DatabaseError):
                check_database(error)
            logger.info("A batch of %d failed: %s", len(batch), error)
            break
        else:
            settled.add(handled)
            batch = handled.busy
            break
    for incoming in [*batch, *alone]:
        _settle_alone(incoming, settled, stuck, charged=charged)


def _settle_suspect(incoming: Incoming, settled: Settled, stuck: set[UUID]) -> None:
    try:
        outcome = settling.charge(incoming.delivery_id)
    except DatabaseError as error:
        check_database(error)
        raise
    if outcome is not None:
        settled.counts[outcome] += 1
        return
    _settle_alone(incoming, settled, stuck, charged=True)


def _settle_alone(incoming: Incoming, settled: Settled, stuck: set[UUID], *, charged: bool) -> None:
    """Handle one delivery in a transaction of its own.

    Args:
        incoming: the delivery.
        settled: takes what became of it.
        stuck: workflows that stayed locked as long as one may wait. The others of this batch do not wait again, or
            a hundred messages of one busy workflow would hold up everything else.
        charged: whether this attempt was counted already.
    """
    identifier, workflow_id = incoming.delivery_id, incoming.envelope.workflow_id
    if workflow_id in stuck:
        _postpone(identifier, settled)
        return
    try:
        settled.add(execution.handle([incoming], wait=True, with_successors=False))
    except execution.HandlerFailed as failure:
        if isinstance(failure.error, DatabaseError):
            check_database(failure.error)
        settled.counts[settling.fail(identifier, failure.error, charged=charged)] += 1
    except OperationalError as error:  # it stays locked, or a deadlock: nothing that the message is to blame for
        check_database(error)
        logger.warning("Delivery %s is postponed: %s", identifier, error)
        stuck.add(workflow_id)
        _postpone(identifier, settled)
    except (NexusError, DatabaseError) as error:  # what the handler sent, wrote, or left behind was refused
        if isinstance(error, DatabaseError):
            check_database(error)
        settled.counts[settling.fail(identifier, error, charged=charged)] += 1


def _postpone(identifier: UUID, settled: Settled) -> None:
    settling.postpone([identifier], POSTPONE)
    settled.counts[Outcome.RETRY] += 1
