"""The watchdog of a worker process: it ends what no exception ends, and keeps leases while a consumer is busy.

- A consumer whose thread has ended, whatever ended it, is the end of its process: the thread may have left a
  transaction open, which holds locks until the process is gone.
- A turn of a consumer that lasts longer than ``NEXUS["STUCK_AFTER"]`` is a handler that will not come back. Nothing can
  stop it but the end of the process: Celery starts another one, the broker hands the delivery out again, and it is
  charged, handled alone and in the end a dead letter.
- What holds the interpreter itself (a bad pattern in Python's ``re``, a loop in C) stops this thread as well. Then a
  timer of ``faulthandler``, which needs no interpreter and is wound up again with every look, ends the process.
- A queue that has messages although a consumer with free hands hears nothing from it is a subscription that is dead
  without anybody having said so. The consumer subscribes again.
- Leases that a consumer cannot renew in time, because it handles a long batch, would end: others would repeat what runs
  here. The watchdog renews them.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from time import monotonic

from django.db import Error as DatabaseError
from django.db import connection

from messaging.brokers import MessageBroker
from messaging.conf import get_settings
from messaging.core.errors import NexusError
from messaging.receiving.consumer import Consumer

logger = logging.getLogger("nexus.receiving")

LOOK_EVERY = 5.0
DEAF_AFTER = 20.0
"""Seconds of silence from a queue after which its depth is asked."""
STUCK_EXIT_CODE = 70
HELD_AFTER = 30.0
"""Seconds beyond ``STUCK_AFTER`` for which this thread may stand still."""


class Watchdog:
    """Watches the consumers of this process, in a thread of its own.

    Args:
        consumers: whom to watch.
        broker: to ask how many messages wait.
        end: ends the process.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        consumers: Sequence[Consumer],
        broker: MessageBroker,
        *,
        end: Callable[[int], object] = os._exit,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._consumers = tuple(consumers)
        self._broker = broker
        self._end = end
        self._clock = clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nexus-watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer."""
        self._stopping.set()
        faulthandler.cancel_dump_traceback_later()

    @staticmethod
    def _wind_up() -> None:
        if sys.__stderr__ is not None:
            faulthandler.dump_traceback_later(get_settings().stuck_after + HELD_AFTER, exit=True, file=sys.__stderr__)

    def _run(self) -> None:
        pause = min(LOOK_EVERY, get_settings().lease_seconds / 4)
        looked_at = self._clock()
        while not self._stopping.wait(pause):
            try:
                self._wind_up()
                self.renew_leases()
                if self._clock() - looked_at >= LOOK_EVERY:
                    looked_at = self._clock()
                    self.look()
            except Exception:  # who watches all the others goes on
                logger.exception("The watchdog failed; it looks again.")
        connection.close()

    def renew_leases(self) -> None:
        """Renew what is due. Never raises."""
        for consumer in self._consumers:
            try:
                consumer.renew_leases()
            except DatabaseError as error:
                logger.info("The watchdog cannot renew leases: %s", error)
                connection.close()

    def look(self) -> None:
        """Look once. Never raises."""
        for consumer in self._consumers:
            if consumer.gone:
                self._end_process("A consumer's thread has ended, although nobody told it to.")
                return
            started = consumer.turn_started
            if started is not None and self._clock() - started > get_settings().stuck_after:
                self._end_process(
                    f"A handler did not come back within {get_settings().stuck_after:g} s (NEXUS_STUCK_AFTER)."
                )
                return
            try:
                self._look_at_queues(consumer)
            except NexusError as error:
                logger.info("The watchdog cannot ask the broker: %s", error)

    def _end_process(self, reason: str) -> None:
        logger.critical("%s This process ends; its messages are handed to another one.", reason)
        logging.shutdown()
        self._end(STUCK_EXIT_CODE)

    def _look_at_queues(self, consumer: Consumer) -> None:
        for queue in consumer.silent_queues(self._clock() - DEAF_AFTER):
            waiting = self._broker.queue_depth(queue)
            if waiting:
                logger.error(
                    "%d messages wait in %s, and this consumer has heard nothing for %g s: it subscribes again.",
                    waiting,
                    queue,
                    DEAF_AFTER,
                )
                consumer.subscribe_again()
                return
