"""The sending process of a soak: it stands for a web server.

In each transaction it sends some messages and writes them into the ledger: committed there, Nexus owes their handling.
Run: ``python -m bench.soak.sender MESSAGES_PER_SECOND``. It ends on SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from random import Random
from uuid import UUID

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nexus_site.settings")
django.setup()

from django.db import Error as DatabaseError  # noqa: E402
from django.db import connection, transaction  # noqa: E402

from bench.soak.agents import PAYMENTS  # noqa: E402
from bench.soak.names import REFUSED_EVERY, REFUSED_TEXT, SAGA_EVERY, TYPE  # noqa: E402
from messaging.api import NexusError, Outgoing, ReliableCommunicationBus, Sagas  # noqa: E402

WORKFLOWS = 24
MESSAGES_PER_WORKFLOW = 400
BURST = 8


class Sender:
    """Sends into a set of workflows, each in its order.

    Args:
        rate: messages a second.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._bus = ReliableCommunicationBus()
        self._sagas = Sagas(self._bus)
        self._bursts = 0
        self._open: dict[UUID, int] = {}
        self._random = Random()
        self._stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopping.set())

    def run(self) -> None:
        """Send until told to stop, whatever fails."""
        registered = False
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                if not registered:
                    self._bus.register_agent("source")
                    registered = True
                self._burst()
                self._bursts += 1
                if self._bursts % SAGA_EVERY == 0:
                    self._begin_saga()
                if self._bursts % REFUSED_EVERY == 1:
                    self._send_what_is_refused()
            except (DatabaseError, NexusError) as error:
                print(f"not sent: {error}", flush=True)
                connection.close()
                self._stopping.wait(0.3)
            self._stopping.wait(max(0.0, BURST / self._rate - (time.monotonic() - began)))
        self._bus.close()

    def _burst(self) -> None:
        while len(self._open) < WORKFLOWS:
            self._open[self._bus.start_workflow("soak")] = 0
        workflow = self._random.choice(list(self._open))
        # Out of the set while the outcome is open: after an error nobody knows whether the numbers were used.
        last = self._open.pop(workflow)
        numbers = range(last + 1, last + 1 + self._random.randint(1, 2 * BURST - 1))
        now = time.time()
        with transaction.atomic():
            self._bus.send_many(
                [
                    Outgoing(
                        workflow_id=workflow,
                        source="source",
                        recipient="first",
                        type=TYPE,
                        data={"number": number, "sent_at": now},
                        labels="private:soak",
                    )
                    for number in numbers
                ]
            )
            with connection.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO soak_sent (workflow, number, sent_at) VALUES (%s, %s, %s)",
                    [(str(workflow), number, now) for number in numbers],
                )
        if numbers[-1] < MESSAGES_PER_WORKFLOW:
            self._open[workflow] = numbers[-1]

    def _begin_saga(self) -> None:
        with transaction.atomic():
            saga = self._sagas.start(PAYMENTS, {"number": self._bursts // SAGA_EVERY})
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO soak_saga (saga) VALUES (%s)", [str(saga)])

    def _send_what_is_refused(self) -> None:
        """Each in a workflow of its own, which parks."""
        for reason, recipient, labels, text in (
            ("labels", "guarded", "origin:web", "hello"),
            ("verification", "second", None, REFUSED_TEXT),
        ):
            data = {"number": 0, "sent_at": time.time(), "text": text}
            with transaction.atomic():
                workflow = self._bus.start_workflow("refused")
                self._bus.send(workflow, recipient, TYPE, data, sender="source", labels=labels)
                with connection.cursor() as cursor:
                    cursor.execute(
                        "INSERT INTO soak_refused (workflow, reason) VALUES (%s, %s)", [str(workflow), reason]
                    )


if __name__ == "__main__":
    Sender(float(sys.argv[1])).run()
