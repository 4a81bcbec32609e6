"""What a ``Lab`` is made of: a clock that tests move, a consumer that takes a turn when it is told to."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.utils import timezone

from messaging import log
from messaging.api import Outgoing
from messaging.receiving import consumer
from messaging.receiving.consumer import Consumer
from messaging.receiving.leased import runner
from messaging.receiving.ordering import Ready
from messaging.receiving.transactional import execution
from messaging.receiving.transactional.calling import run_handler
from messaging.recovery import relay
from messaging.transport import publisher


class Died(BaseException):
    """Stands for kill -9: nothing in the system may catch it."""


class Clock:
    """Moves time for the code under test; the real time goes on beneath."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        now, monotonic = timezone.now, time.monotonic
        monkeypatch.setattr(timezone, "now", lambda: now() + timedelta(seconds=self.ahead))
        for module in (consumer, runner, publisher, relay):
            monkeypatch.setattr(module, "monotonic", lambda: monotonic() + self.ahead)

    def advance(self, seconds: float) -> None:
        """Let seconds pass at once."""
        self.ahead += seconds


class SteppedConsumer(Consumer):
    """A consumer that takes a turn when it is told to, and lets every error out."""

    def step(self) -> None:
        """One turn of the loop."""
        self._turn()

    def guarded_step(self) -> None:
        """One turn as the loop takes it, with its care for failures."""
        self._guarded_turn()

    def finish_leases(self) -> None:
        """Wait for the leased handlers and store what they left, as a worker does that was frozen until now."""
        self._leases.wait(20.0)
        self._finish([], self._leases.settle_finished())

    def idle(self) -> bool:
        """Whether nothing is at hand."""
        return not (self._unsettled or self._waiting or self._leases.running or self._local)

    def step_without_acknowledging(self) -> None:
        """One turn that dies after its commit."""
        with patch.object(self._broker, "acknowledge", side_effect=Died), suppress(Died):
            self._turn()

    def step_and_die_in_handler(self, sequence: int) -> None:
        """Turns that die when the message with this number is to be handled."""

        def run(ready: Ready, *others: Any) -> list[Outgoing]:
            if ready.passage.envelope.sequence_number == sequence:
                raise Died
            return run_handler(ready, *others)

        with patch.object(execution, "run_handler", run), suppress(Died):
            for _ in range(3):
                self._turn()

    def take_and_die(self) -> None:
        """Receive what is there and die before anything is done with it."""
        with patch.object(consumer, "settle_batch", side_effect=Died), suppress(Died):
            self._turn()

    def die(self) -> None:
        """What a kill leaves behind: unacknowledged messages go back to the broker, nothing is finished."""
        self._hand_back()
        self._local.take()
        self._leases.close()
        self._broker._forget_outstanding()  # its connection is gone


class Offers:
    """Stands in for the publisher thread: keeps what sends leave for it."""

    def __init__(self) -> None:
        self.waiting: list[log.StoredDelivery] = []

    def offer(self, deliveries: Sequence[log.StoredDelivery]) -> None:
        self.waiting += deliveries

    def flush(self, timeout: float) -> bool:
        """Nothing to wait for."""
        return True
