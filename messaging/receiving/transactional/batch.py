"""A batch of deliveries of transactional agents, from the gate to settled.

First all together in one transaction, as many as its agents' usual times allow; again without those whose handlers
fail. Where something else fails, or where a delivery is suspect of having killed a worker, one by one: then every
failure belongs to exactly one delivery.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from uuid import UUID

from django.db import Error as DatabaseError
from django.db import transaction
from django.utils import timezone

from messaging.conf import get_settings
from messaging.core.envelope import parse_envelope, with_clear_data
from messaging.core.errors import NexusError
from messaging.gate.passage import Passage
from messaging.gate.steps.authenticate import authenticate
from messaging.gate.steps.decrypt import decrypt
from messaging.log.lock_failures import is_lock_failure
from messaging.outcomes import Applied, apply, fail
from messaging.receiving import charging
from messaging.receiving.database import check_database
from messaging.receiving.planning import LOCK_WAIT, SHORT_LOCK_WAIT
from messaging.receiving.refusing import settle_stopped
from messaging.receiving.transactional import calling, execution

logger = logging.getLogger("nexus.receiving")

MAX_ROUNDS = 8
"""How often a batch is tried again without a delivery whose handler failed. Then each is handled alone."""

PORTION_SECONDS = 0.25
"""What the handlers of one transaction may take together, by what their agents usually take."""


def settle_batch(batch: Sequence[Passage], *, onward: float = 0.0) -> Applied:
    """Handle deliveries that came through the gate, stopped ones too, and make every outcome durable.

    Args:
        batch: the deliveries.
        onward: see ``execution.handle``.

    Raises:
        DatabaseUnavailable: try the whole batch again later; what was committed shows up as duplicates then.
    """
    return _Batch(onward).settle(batch)


def portions(batch: Sequence[Passage]) -> Iterator[list[Passage]]:
    """Cut a batch so that one transaction takes about ``PORTION_SECONDS``; messages of a quick agent stay together.

    A transaction holds the workflows of all its messages, so one slow handler would keep senders of the others waiting.
    Nobody knows yet how slow an agent is whose handler was never called here: its first message is handled by itself.
    """
    portion: list[Passage] = []
    seconds = 0.0
    for passage in batch:
        recipient = passage.envelope.subject
        if portion and calling.expected_seconds(recipient) is None:
            yield portion  # perhaps it is known afterwards
            portion, seconds = [], 0.0
        expected = calling.expected_seconds(recipient)
        if expected is None:
            yield [passage]
            continue
        if portion and seconds + expected > PORTION_SECONDS:
            yield portion
            portion, seconds = [], 0.0
        portion.append(passage)
        seconds += expected
    if portion:
        yield portion


class _Batch:
    """Handles one batch and adds up what was applied.

    Args:
        onward: see ``execution.handle``.
    """

    def __init__(self, onward: float) -> None:
        self._onward = onward
        self._applied = Applied()
        self._stuck: set[UUID] = set()
        """Workflows that stayed locked as long as one may wait. The others of this batch do not wait again, or a
        hundred messages of one busy workflow would hold up everything else."""
        self._lock_wait = LOCK_WAIT

    def settle(self, batch: Sequence[Passage]) -> Applied:
        stopped = [passage for passage in batch if passage.stop is not None]
        fresh = [passage for passage in batch if passage.stop is None and not passage.suspect]
        suspects = [passage for passage in batch if passage.stop is None and passage.suspect]
        if stopped:
            self._refuse(stopped)
        for portion in portions(fresh):
            self._together(portion, charged=False)
        if len(suspects) > 1:
            suspects = self._untried(suspects)
        for passage in self._verified(suspects):
            self._suspect(passage)
        return self._applied

    def _refuse(self, stopped: Sequence[Passage]) -> None:
        try:
            self._applied.add(settle_stopped(stopped))
        except DatabaseError as error:
            check_database(error)
            raise

    def _untried(self, suspects: Sequence[Passage]) -> list[Passage]:
        """Handle those together that were never tried; return the others."""
        try:
            charged = charging.charge_together(
                {passage.delivery_id: passage.envelope.workflow_id for passage in suspects}
            )
        except DatabaseError as error:
            check_database(error)
            raise
        untried = [passage for passage in suspects if passage.delivery_id in charged.counted]
        for portion in portions(untried):
            self._together(portion, charged=True)
        self._postpone([passage.delivery_id for passage in suspects if passage.delivery_id in charged.busy])
        done = charged.counted | charged.busy
        return [passage for passage in suspects if passage.delivery_id not in done]

    def _together(self, batch: Sequence[Passage], *, charged: bool, wait: bool = False) -> None:
        """Handle a batch in one transaction, and alone afterwards what is left: unclear failures, single deliveries of
        busy workflows. Several of one busy workflow are handled together, once it is free.

        Args:
            batch: the deliveries.
            charged: whether this attempt was counted already.
            wait: wait for their workflow; they have only one.
        """
        remaining = list(batch)
        failed: list[tuple[UUID, BaseException]] = []
        busy: list[Passage] = []
        with_successors = True
        most_calls: int | None = None
        unknown: set[str] = set()
        rounds = 0
        while remaining and rounds < MAX_ROUNDS:
            try:
                handled = self._try(
                    remaining,
                    wait=wait,
                    with_successors=with_successors,
                    most_calls=most_calls,
                    # What kills a worker onward would be counted against those that were charged.
                    onward=0.0 if charged else self._onward,
                )
            except calling.HandlerFailed as failure:
                rounds += 1
                culprit = failure.ready.row.id
                if is_lock_failure(failure.error):
                    self._lock_wait = SHORT_LOCK_WAIT
                elif isinstance(failure.error, DatabaseError):
                    check_database(failure.error)
                    break  # perhaps it is an earlier handler of the batch that is to blame
                ours = any(passage.delivery_id == culprit for passage in remaining)
                if not ours:  # it is a delivery that the batch took along: it will come by itself, and be handled alone
                    most_calls = failure.calls or None  # once more as far as it came
                    with_successors = most_calls is not None
                    unknown.add(failure.ready.row.agent)
                else:
                    failed.append((culprit, failure.error))
                    most_calls = None
                remaining = [passage for passage in remaining if passage.delivery_id != culprit]
                _renew(remaining)
            except (NexusError, DatabaseError) as error:
                remaining = self._given_up(remaining, error, wait=wait)
                break
            else:
                self._applied.add(handled.applied)
                if not handled.left:
                    remaining, busy = [], handled.busy
                    break
                remaining, most_calls = [*handled.left, *handled.busy], None
        for agent in unknown:
            calling.forget_seconds(agent)
        _renew([*remaining, *busy])
        busy = self._verified(busy) if wait else self._waited(self._verified(busy), charged=charged)
        for passage in [*self._verified(remaining), *busy]:
            self._alone(passage, charged=charged)
        # Last, so that what came before in the same workflow is committed when that workflow parks.
        for identifier, cause in failed:
            self._fail(identifier, cause, charged=charged)

    def _given_up(self, batch: list[Passage], error: Exception, *, wait: bool) -> list[Passage]:
        """What is to be handled alone of a batch that failed as a whole."""
        if isinstance(error, DatabaseError):
            check_database(error)
        logger.info("A batch of %d failed: %s", len(batch), error)
        if not (wait and isinstance(error, execution.WorkflowBusy)):
            return batch
        self._put_off(batch, error)
        return []

    def _waited(self, busy: Sequence[Passage], *, charged: bool) -> list[Passage]:
        """Handle what is of the same busy workflow together; return what is alone in its workflow. A group's hundred
        deliveries would be a hundred transactions otherwise.
        """
        workflows: dict[UUID, list[Passage]] = {}
        for passage in busy:
            workflows.setdefault(passage.envelope.workflow_id, []).append(passage)
        for group in workflows.values():
            if len(group) > 1:
                self._together(group, charged=charged, wait=True)
        return [group[0] for group in workflows.values() if len(group) == 1]

    def _try(
        self, batch: list[Passage], *, wait: bool, with_successors: bool, most_calls: int | None, onward: float
    ) -> execution.Handled:
        """Handle a batch; where the keys have changed, only what they still verify, and the others leave the list."""

        def handle() -> execution.Handled:
            return execution.handle(
                batch,
                wait=wait,
                with_successors=with_successors,
                lock_wait=self._lock_wait,
                onward=onward,
                most_calls=most_calls,
            )

        try:
            return handle()
        except execution.KeysChanged:
            batch[:] = self._verified(batch)
            return handle() if batch else execution.Handled()

    def _verified(self, passages: Sequence[Passage]) -> list[Passage]:
        """Verify by the keys as they are now what was verified in advance; return what goes on."""
        advance = [passage for passage in passages if passage.keys is not None]
        if advance:
            authenticate(advance)
            decrypt([passage for passage in advance if passage.stop is None])
        if stopped := [passage for passage in advance if passage.stop is not None]:
            self._refuse(stopped)
        return [passage for passage in passages if passage.stop is None]

    def _suspect(self, passage: Passage) -> None:
        try:
            decided = charging.charge(passage.delivery_id, passage.envelope.workflow_id)
        except DatabaseError as error:
            check_database(error)
            raise
        if decided is None:
            self._alone(passage, charged=True)
        else:
            self._applied.add(decided)

    def _alone(self, passage: Passage, *, charged: bool) -> None:
        """Handle one delivery in a transaction of its own.

        Args:
            passage: the delivery.
            charged: whether this attempt was counted already.
        """
        identifier, workflow_id = passage.delivery_id, passage.envelope.workflow_id
        if workflow_id in self._stuck:
            self._postpone([identifier])
            return
        try:
            self._applied.add(self._handle_alone(passage))
        except calling.HandlerFailed as failure:
            if isinstance(failure.error, DatabaseError):
                check_database(failure.error)
            if is_lock_failure(failure.error):
                self._lock_wait = SHORT_LOCK_WAIT
            self._fail(identifier, failure.error, charged=charged)
        except execution.WorkflowBusy as error:
            self._put_off([passage], error)
        except (NexusError, DatabaseError) as error:  # what the handler sent, wrote, or left behind was refused
            if isinstance(error, DatabaseError):
                check_database(error)
            self._fail(identifier, error, charged=charged)

    def _handle_alone(self, passage: Passage) -> Applied:
        return execution.handle([passage], wait=True, with_successors=False, lock_wait=self._lock_wait).applied

    def _fail(self, identifier: UUID, error: BaseException, *, charged: bool) -> None:
        try:
            self._applied.add(fail(identifier, error, charged=charged))
        except DatabaseError as failed:
            check_database(failed)
            raise

    def _put_off(self, passages: Sequence[Passage], error: execution.WorkflowBusy) -> None:
        """Postpone deliveries of one workflow that stays locked, and all others of it that this batch has."""
        logger.warning("Deliveries %s are postponed: %s", [str(one.delivery_id) for one in passages][:10], error)
        self._stuck.add(passages[0].envelope.workflow_id)
        self._postpone([passage.delivery_id for passage in passages])

    def _postpone(self, identifiers: Sequence[UUID]) -> None:
        if identifiers:
            with transaction.atomic():
                self._applied.add(apply([charging.postponed(one) for one in identifiers], timezone.now()))


def _renew(passages: Sequence[Passage]) -> None:
    """Parse envelopes anew: a handler that failed, or was rolled back, may have changed its message's data."""
    limit = get_settings().max_message_bytes
    for passage in passages:
        envelope = parse_envelope(passage.body, max_bytes=limit)
        passage.envelope = with_clear_data(envelope, passage.clear) if envelope.is_encrypted else envelope
