"""Closing a bus, and claims that are interrupted: what one part ends, the others do not notice."""

from __future__ import annotations

import threading
from typing import Any
from uuid import UUID

import pytest

from messaging.api import ReliableCommunicationBus
from messaging.models import DeadLetter, Delivery
from messaging.receiving.leased.running import HandlerRunner
from messaging.testing.servers.waiting import wait_until
from messaging.transport import background
from messaging.transport.background import BackgroundPublisher, background_publisher
from tests.support.lab import Lab


def test_closing_a_bus_leaves_the_publisher_of_the_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = background_publisher()
    ended: list[str] = []
    monkeypatch.setattr(publisher, "close", lambda *_: ended.append("closed"))
    ReliableCommunicationBus().close()
    assert ended == []


def test_a_publisher_that_was_closed_starts_again(monkeypatch: pytest.MonkeyPatch, lab: Lab) -> None:
    publisher = BackgroundPublisher()
    ran = threading.Event()
    monkeypatch.setattr(publisher, "_run", ran.set)
    publisher._stopping.set()
    lab.agent("a")
    lab.send(lab.workflow(), "a")
    monkeypatch.setattr(background, "may_publish", lambda: True)
    publisher.offer(lab.take_offered())
    wait_until(ran.is_set, 10, lambda: "the publisher's thread to start")
    assert not publisher._stopping.is_set()


def test_a_handler_that_cannot_be_started_is_a_failure_and_no_stray_lease(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong between the claim's commit and the handler's start is settled like any other failure."""
    lab.agent("slow", leased=True)
    first, second = lab.workflow(), lab.workflow()
    lab.send(first, "slow")
    lab.send(second, "slow")
    start = HandlerRunner.start
    refused: list[UUID] = []

    def no_more_threads(self: HandlerRunner, *arguments: Any) -> Any:
        if not refused:
            refused.append(arguments[0].row.id)
            self._executor.shutdown()
        return start(self, *arguments)

    monkeypatch.setattr(HandlerRunner, "start", no_more_threads)
    lab.publish()
    lab.work()
    delivery = Delivery.objects.get(pk=refused[0])
    assert (delivery.state, delivery.attempts) == ("pending", 1)
    assert "RuntimeError" in delivery.last_error
    assert not DeadLetter.objects.exists()


def test_attempts_that_are_used_up_end_in_the_transaction_of_the_claim(lab: Lab) -> None:
    lab.agent("slow", leased=True)
    lab.agent("fine", leased=True)
    workflow, other = lab.workflow(), lab.workflow()
    message = lab.send(workflow, "slow")
    lab.send(other, "fine")
    Delivery.objects.filter(message=message).update(attempts=5)
    lab.publish()
    lab.work(2)
    assert DeadLetter.objects.get().reason == "crash_loop"
    assert lab.ledger.tried(other, "fine") == [1]
