"""The relay: publishes what is due and repairs what is stuck.

Any number may run; one leads. What it does is safe to do twice, so a former leader that wakes up does no harm: rows
are claimed before they are published, and a duplicate is suppressed by its processed-ID row.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic
from uuid import UUID

from django.db import Error as DatabaseError
from django.db import connection

from messaging.brokers import Confirmation, MessageBroker
from messaging.conf import get_settings
from messaging.core.errors import BrokerError, NexusError
from messaging.receiving.inbox.reader import InboxReader
from messaging.recovery import alerting, due, gaps
from messaging.recovery.dead_letter_queue import DeadLetterReader
from messaging.recovery.leadership import Leadership
from messaging.recovery.periodic import periodic_actions
from messaging.recovery.pruning import prune_once_results, prune_processed_ids
from messaging.recovery.rotating import rotate_keys
from messaging.security.signatures import uses
from messaging.sending.schedules import send_due_schedules
from messaging.sending.sending_due import send_due_timers
from messaging.transactions.checkpoints import checkpoint_file, write_checkpoint
from messaging.transactions.two_phase.recovering import recover_in_background
from messaging.transport import wire
from messaging.transport.publisher import broker_breaker, note_answers
from messaging.workflows import idleness
from messaging.workflows import life_cycle as workflows
from messaging.workflows.waiting import forget_waits

logger = logging.getLogger("nexus.relay")

MAX_PAUSE = 5.0
BURSTS_A_TURN = 20
CHECKPOINT_EVERY = 60.0
NO_REPAIRS = ("timers", "schedules", "checkpoints")
"""What is done in passing and is not worth a line in the log."""


class _Every:
    """Runs something at most every so many seconds."""

    def __init__(self, seconds: float, action: Callable[[], int]) -> None:
        self._seconds = seconds
        self._action = action
        self._last = float("-inf")

    def __call__(self) -> int:
        if monotonic() - self._last < self._seconds:
            return 0
        self._last = monotonic()
        return self._action()


class Relay:
    """One relay process.

    Args:
        broker: the transport.
    """

    def __init__(self, broker: MessageBroker) -> None:
        self._broker = broker
        self._breaker = broker_breaker()
        self._settings = get_settings()
        self._leadership = Leadership()
        self._leads = False
        self._renewed = float("-inf")
        self._ready = False
        self._stopping = threading.Event()
        self._dead_letters = DeadLetterReader(broker)
        self._inbox = InboxReader(broker)
        repair = min(1.0, self._settings.redelivery_after / 4)
        self._repairs: dict[str, _Every] = {
            "timers": _Every(0.0, send_due_timers),
            "schedules": _Every(0.5, send_due_schedules),
            "expired leases": _Every(min(repair, self._settings.lease_seconds / 4), due.end_expired_leases),
            "lost deliveries": _Every(repair, due.take_back_lost),
            # Before "gaps", which puts off what is held for another gap_timeout.
            "missing deliveries": _Every(min(5.0, self._settings.gap_timeout / 4), gaps.settle_missing),
            "gaps": _Every(min(5.0, self._settings.gap_timeout / 4), due.replay_gaps),
            "overdue workflows": _Every(1.0, lambda: workflows.expire_overdue(100)),
            "idle workflows": _Every(1.0, lambda: idleness.end_idle(100)),
            "processed-IDs": _Every(30.0, prune_processed_ids),
            "results of once": _Every(60.0, prune_once_results),
            "forgotten waits": _Every(60.0, forget_waits),
            **self._checkpoints(),
            "orphaned two-phase commits": _Every(30.0, lambda: recover_in_background(thorough=True)),
            "two-phase commits": _Every(1.0, recover_in_background),
            "uses of keys": _Every(uses.EVERY, uses.flush_and_prune),
            "signing keys": _Every(min(60.0, self._settings.key_rotation_every / 4), rotate_keys),
            "alerts": _Every(1.0, alerting.send_in_background),
            **{name: _Every(seconds, action) for name, (seconds, action) in periodic_actions().items()},
        }

    def _checkpoints(self) -> dict[str, _Every]:
        """Signed checkpoints of the journals, where the settings want them; what hinders them is logged."""
        file = checkpoint_file()
        if file is None:
            return {}

        def write() -> int:
            try:
                return write_checkpoint(file)
            except (OSError, NexusError) as error:
                logger.error("No checkpoint of the journals was written, trying again: %s", error)
                return 0

        return {"checkpoints": _Every(CHECKPOINT_EVERY, write)}

    def stop(self) -> None:
        """Ask the loop to end. Any thread or signal handler may call it."""
        self._stopping.set()

    def run(self) -> None:
        """Lead or stand by until ``stop``. Survives any failure of broker and database."""
        pause = self._settings.relay_interval
        try:
            while not self._stopping.is_set():
                try:
                    worked = self.turn()
                    pause = 0.0 if worked else self._settings.relay_interval
                except (BrokerError, DatabaseError) as error:
                    logger.warning("The relay cannot work, trying again: %s", error)
                    pause = self._recover(pause)
                except Exception:  # the relay is what repairs everything else: it must outlive its own defects
                    logger.exception("The relay failed, trying again.")
                    pause = self._recover(pause)
                self._stopping.wait(pause)
        finally:
            self._resign()

    def _recover(self, pause: float) -> float:
        connection.close()
        self._ready = False
        return min(MAX_PAUSE, max(self._settings.relay_interval, pause) * 2)

    def _resign(self) -> None:
        try:
            if self._leads:
                self._leadership.release()
            self._dead_letters.close()
            self._inbox.close()
            self._broker.close()
        except (BrokerError, DatabaseError) as error:
            logger.warning(
                "Could not hand over at once; another relay takes over in %g s: %s", self._settings.relay_lease, error
            )
        finally:
            connection.close()

    def turn(self) -> bool:
        """Do once whatever is to be done; return whether there may be more at once."""
        if not self._lead():
            return False
        self._repair()
        published = self._publish_due()
        self._publish_markers()
        self._dead_letters.read()
        arrived = self._inbox.read()
        return published or arrived > 0

    def _lead(self) -> bool:
        if monotonic() - self._renewed < self._settings.relay_lease / 3:
            return self._leads
        led, self._leads = self._leads, self._leadership.acquire()
        self._renewed = monotonic()
        if self._leads and not led:
            logger.info("This relay leads (%s).", self._leadership.holder)
        elif led and not self._leads:
            logger.warning("Another relay leads now.")
            self._dead_letters.close()  # what the broker handed out here, the new leader must get
            self._inbox.close()
        return self._leads

    def _repair(self) -> None:
        for what, repair in self._repairs.items():
            count = repair()
            if count and what not in NO_REPAIRS:
                logger.info("Repaired %s: %d", what, count)

    def _publish_due(self) -> bool:
        self._declare()
        for _ in range(BURSTS_A_TURN):
            claimed, claimed_until = due.claim_pending()
            if not claimed:
                return False
            confirmations = self._broker.publish_many(
                [wire.delivery_message(stored) for stored in claimed], timeout=self._settings.publish_timeout
            )
            note_answers(self._breaker, confirmations)  # the relay itself goes on, whatever the breaker says
            confirmed = [UUID(key) for key, value in confirmations.items() if value is Confirmation.CONFIRMED]
            due.note_published(confirmed, claimed_until)
            if Confirmation.RETURNED in confirmations.values():
                self._ready = False
                self._declare()
            if len(confirmed) < len(claimed):
                logger.warning(
                    "%d of %d deliveries were not confirmed; trying again later.",
                    len(claimed) - len(confirmed),
                    len(claimed),
                )
                return False
            if self._stopping.is_set() or not self._lead():
                return False
        return True

    def _publish_markers(self) -> None:
        messages = [wire.marker_message(queue, sent_at) for queue, sent_at in due.next_markers()]
        if messages:
            self._broker.publish_many(messages, timeout=self._settings.publish_timeout)

    def _declare(self) -> None:
        if not self._ready:
            self._broker.initialize()
            self._ready = True
