"""The consumer: the loop of a worker process that receives, handles, settles, publishes and acknowledges.

It runs in a thread of each of Celery's pool processes, with its own connections. In every turn it takes what the
broker has there already, up to a batch: a message that comes alone is handled at once, and under load batches grow by
themselves.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter, deque
from datetime import datetime
from time import monotonic

from django.db import Error as DatabaseError
from django.db import connection

from messaging.brokers import MessageBroker, ReceivedMessage, Subscription
from messaging.conf import get_settings
from messaging.core.errors import BrokerError, NexusError
from messaging.core.outcome import Outcome
from messaging.core.registry import HandlerKind
from messaging.directory.names import save_registered_agents
from messaging.gate.passage import Passage, logged_passage, received_passage
from messaging.gate.receiving import admit, admit_in_advance
from messaging.gate.sending import prepare
from messaging.models import QueueMarker
from messaging.outcomes import Applied
from messaging.receiving.database import DatabaseUnavailable, check_database
from messaging.receiving.leased.runner import LeaseRunner
from messaging.receiving.local import LocalDeliveries
from messaging.receiving.partitions import PartitionShares
from messaging.receiving.status import StatusWriter
from messaging.receiving.transactional.batch import settle_batch
from messaging.transport import wire
from messaging.transport.publisher import Publisher

logger = logging.getLogger("nexus.receiving")

IDLE_WAIT = 0.5
BUSY_WAIT = 0.02  # while leased handlers run or confirms are awaited
FIRST_PAUSE = 0.1
MAX_PAUSE = 5.0
LOCK_PATIENCE = 1.0  # how long a leased delivery steps back for another transaction, before it waits for its workflow
LEASED_WAIT = 60.0  # how long a message for a leased agent may wait here for a free place


class Consumer:
    """Consumes the queues of Nexus in the calling thread.

    Args:
        broker: the transport.
        queues: the kinds of agents whose queues to consume.
        parent: id of the process without which this one is of no use: a pool process ends with its worker. None for a
            process that may outlive the shell which started it.
    """

    def __init__(
        self,
        broker: MessageBroker,
        queues: tuple[str, ...] = (HandlerKind.TRANSACTIONAL.value, HandlerKind.LEASED.value),
        *,
        parent: int | None = None,
    ) -> None:
        self._broker = broker
        self._queues = queues
        self._settings = get_settings()
        self._publisher = Publisher(broker)
        self._leases = LeaseRunner(self._settings.leased_concurrency)
        self._subscriptions: dict[str, Subscription] = {}
        transactional = HandlerKind.TRANSACTIONAL.value
        local = self._settings.local_delivery != "off" and transactional in queues
        self._onward = self._settings.onward_seconds if self._settings.local_delivery == "on" else 0.0
        self._local = LocalDeliveries(self._settings.batch_size if local else 0)
        self._unchecked: list[tuple[ReceivedMessage | None, Passage]] = []
        self._unsettled: list[tuple[ReceivedMessage | None, Passage]] = []
        self._markers: list[ReceivedMessage] = []
        self._waiting: deque[tuple[float, ReceivedMessage, Passage]] = deque()
        self._stopping = threading.Event()
        self._parent = parent
        self._pause = FIRST_PAUSE
        partitions = list(wire.queues_of(transactional).values())[1:] if transactional in queues else []
        self._shares = PartitionShares(broker, partitions)
        self._status = StatusWriter(len(partitions))
        self.outcomes: Counter[Outcome] = Counter()
        self.turn_started: float | None = None
        self._heard: dict[str, float] = {}
        self._subscribing_again = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, name: str) -> None:
        """Run in a thread of its own.

        Args:
            name: the thread's.
        """
        self._thread = threading.Thread(target=self.run, name=name, daemon=True)
        self._thread.start()

    def join(self, timeout: float) -> None:
        """Wait for the thread's end, at most ``timeout`` seconds."""
        if self._thread is not None:
            self._thread.join(timeout)

    @property
    def gone(self) -> bool:
        """Whether the thread has ended although nobody asked for it: something went past all that catches errors."""
        if self._thread is None or self._thread.is_alive():
            return False
        return not self._stopping.is_set() and self._parent in (None, os.getppid())

    def silent_queues(self, since: float) -> list[str]:
        """Names of the queues from which nothing came since a time although there is room: for the watchdog."""
        leased = self._settings.queue_prefix + wire.QUEUE_NAMES[HandlerKind.LEASED.value]
        excused = self._shares.quiet(since)
        if self._waiting or self._leases.free <= 0:
            excused |= {leased}
        return [queue for queue, heard in list(self._heard.items()) if heard < since and queue not in excused]

    def renew_leases(self) -> None:
        """Prolong the leases of running handlers, if it is time. The watchdog does so while a long batch is handled."""
        self._leases.renew()

    def subscribe_again(self) -> None:
        """Ask the loop to give its connection up and to subscribe anew. Any thread may call it."""
        self._subscribing_again.set()

    def stop(self) -> None:
        """Ask the loop to end after the batch at hand. Any thread may call it."""
        self._stopping.set()

    def run(self) -> None:
        """Consume until ``stop``. Survives any failure of broker and database."""
        try:
            while not self._stopping.is_set() and self._parent in (None, os.getppid()):
                self._guarded_turn()
        finally:
            self._drain()

    def _guarded_turn(self) -> None:
        try:
            self.turn_started = monotonic()
            self._turn()
            self._pause = FIRST_PAUSE
        except BrokerError as error:
            logger.warning("The broker is out of reach, trying again: %s", error)
            self._hand_back()
            self._keep_leases()
            self._rest()
        except (DatabaseUnavailable, DatabaseError) as error:
            if self._database_answers(error):
                logger.exception("The database refused what the consumer wrote; handing its messages back.")
                self._hand_back()
            else:
                logger.warning("The database is out of reach, trying again: %s", error)
            connection.close()
            self._rest()
        except Exception:
            # A defect of ours must not end the loop. The messages at hand go back to the broker, which marks them
            # redelivered, so each is handled alone and its failure counted.
            logger.exception("The consumer failed; handing its messages back.")
            self._hand_back()
            connection.close()
            self._rest()
        finally:
            self.turn_started = None

    @staticmethod
    def _database_answers(error: Exception) -> bool:
        if not isinstance(error, DatabaseError):
            return False
        try:
            check_database(error)
        except DatabaseUnavailable:
            return False
        return True

    def _keep_leases(self) -> None:
        """Renew leases and store results while the broker is away: otherwise others would repeat what runs here."""
        try:
            self._leases.renew()
            self._finish([], self._leases.settle_finished())
        except (NexusError, DatabaseError) as error:
            logger.warning("Could not look after the leases: %s", error)

    def _rest(self) -> None:
        self._stopping.wait(self._pause)
        self._pause = min(MAX_PAUSE, self._pause * 2)

    def _turn(self) -> None:
        if self._subscribing_again.is_set():
            self._subscribing_again.clear()
            self._hand_back()
            self._broker.close()
        self._subscribe()
        room = self._settings.batch_size - len(self._unsettled) - len(self._unchecked)
        if room > 0:
            self._take(room)
        if self._unchecked:
            self._check()
        if self._unsettled:
            self._settle_unsettled()
        self._serve_leased()
        while self._markers:
            self._see_marker(self._markers[0])
            del self._markers[0]
        self._publisher.collect()
        self._status.write(self.outcomes)
        self._shares.balance(self._status.id, self._subscriptions)

    def _subscribe(self) -> None:
        if self._subscriptions:
            return
        prepare()
        save_registered_agents()
        self._broker.initialize()
        prefetch = {
            HandlerKind.TRANSACTIONAL.value: self._prefetch(),
            HandlerKind.LEASED.value: self._settings.leased_concurrency,
        }
        for kind in self._queues:
            for queue in wire.queues_of(kind).values():
                self._subscriptions[queue] = self._broker.subscribe(queue, prefetch=prefetch[kind])
                self._heard[queue] = monotonic()

    def _prefetch(self) -> int:
        """Counted in what the broker hands out: when bundles are half full, these are as many deliveries as the setting
        says. So many come back when this process dies, and wait here while others may be idle.
        """
        size = self._settings.bundle_size if self._broker.bundles else 1
        return -(-2 * self._settings.prefetch // size) if size > 1 else self._settings.prefetch

    def _take(self, room: int) -> None:
        busy = self._leases.running or self._waiting or self._broker.outstanding or self._unsettled or self._unchecked
        received = self._broker.receive(
            *self._subscriptions.values(),
            # What comes from elsewhere has half a batch at least, whatever the handlers here send each other.
            limit=max(room - len(self._local), self._settings.batch_size // 2),
            timeout=0.0 if self._local else BUSY_WAIT if busy else IDLE_WAIT,
        )
        self._unchecked += [(None, logged_passage(stored)) for stored in self._local.take()]
        if received:
            now = monotonic()
            heard = {message.queue for message in received}
            self._heard.update(dict.fromkeys(heard, now))
            self._shares.note(heard)
        for message in received:
            if message.headers.get("task") == wire.MARK_TASK:
                self._markers.append(message)
            else:
                self._unchecked.append((message, received_passage(message)))

    def _check(self) -> None:
        """Let what was received through the gate. A check that meets a lost database is repeated with the next turn."""
        leased = self._settings.queue_prefix + wire.QUEUE_NAMES[HandlerKind.LEASED.value]
        slow = [passage for message, passage in self._unchecked if message and message.queue == leased]
        quick = [passage for message, passage in self._unchecked if not message or message.queue != leased]
        for passages, check in ((slow, admit), (quick, admit_in_advance)):
            if passages:
                check(passages)
        for message, passage in self._unchecked:
            if message and message.queue == leased and passage.stop is None:
                self._waiting.append((monotonic() + LEASED_WAIT, message, passage))
            else:
                self._unsettled.append((message, passage))
        self._unchecked.clear()

    def _see_marker(self, message: ReceivedMessage) -> None:
        try:
            queue, sent_at = message.headers["queue"], datetime.fromisoformat(message.headers["sent_at"])
            if queue not in wire.marked_queues() or sent_at.tzinfo is None:
                raise ValueError("no queue that is marked, or no time zone")
            # One from the future is forged, or of a clock set back; it would make everything look lost from now on.
            sent = QueueMarker.objects.filter(pk=queue, sent_at__gte=sent_at)
            sent.exclude(seen_at__gte=sent_at).update(seen_at=sent_at)
        except (KeyError, TypeError, ValueError):
            logger.warning("A marker without queue or time is dropped.")
        self._broker.acknowledge([message])

    def _settle_unsettled(self) -> None:
        applied = settle_batch([passage for _, passage in self._unsettled], onward=self._onward)
        done, self._unsettled = [message for message, _ in self._unsettled if message is not None], []
        self._finish(done, applied)

    def _finish(self, done: list[ReceivedMessage], applied: Applied) -> None:
        """After the commit: publish, then acknowledge. Dying in between leaves duplicates, never loss."""
        self.outcomes.update(applied.counts)
        self._publisher.begin(applied.publish if self._stopping.is_set() else self._local.keep(applied.publish))
        self._broker.acknowledge(done)

    def _serve_leased(self) -> None:
        if self._leases.running:
            self._leases.renew()
            self._finish([], self._leases.settle_finished())
        free = max(0, self._leases.free)
        taking = [self._waiting.popleft() for _ in range(min(free, len(self._waiting)))]
        if taking:
            self._claim(taking)
        while self._waiting and self._waiting[0][0] < monotonic():
            self._broker.negative_acknowledge(self._waiting.popleft()[1], requeue=True)

    def _claim(self, taking: list[tuple[float, ReceivedMessage, Passage]]) -> None:
        """Claim deliveries; those whose workflow is busy wait here for the next turn, or at last for the workflow."""
        patient = any(deadline - monotonic() < LEASED_WAIT - LOCK_PATIENCE for deadline, _, _ in taking)
        try:
            applied, busy = self._leases.claim([passage for _, _, passage in taking], wait=patient)
        except (DatabaseError, NexusError):
            self._waiting.extendleft(reversed(taking))
            raise
        waiting = {id(passage) for passage in busy}
        self._waiting.extend(item for item in taking if id(item[2]) in waiting)
        self._finish([message for _, message, passage in taking if id(passage) not in waiting], applied)

    def _hand_back(self) -> None:
        self._unchecked.clear()
        self._unsettled.clear()
        self._markers.clear()
        self._waiting.clear()
        self._heard.clear()
        self._unsubscribe()

    def _unsubscribe(self) -> None:
        try:
            for subscription in self._subscriptions.values():
                self._broker.unsubscribe(subscription)
        except BrokerError as error:
            logger.warning("Could not unsubscribe: %s", error)
        self._subscriptions.clear()

    def _drain(self) -> None:
        """Finish what is at hand: handlers that run, confirms, marks. What remains is redelivered."""
        self._hand_back()
        try:
            if self._leases.running:
                self._leases.wait(self._settings.drain_timeout)
                self._finish([], self._leases.settle_finished())
            self._publisher.begin(self._local.take())
            self._publisher.flush(min(2.0, self._settings.publish_timeout))
            self._status.write(self.outcomes, stopped=True)
        except (NexusError, DatabaseError) as error:
            logger.warning("Could not finish everything; the relay takes over: %s", error)
        finally:
            self._leases.close()
            self._broker.close()
            connection.close()
