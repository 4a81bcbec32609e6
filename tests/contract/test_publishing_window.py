"""A burst is written before those in front of it are confirmed; a confirm that never comes loses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import cast
from uuid import UUID

import pytest

from messaging.api import MessageBroker
from messaging.brokers import Confirmation, OutgoingMessage
from messaging.models import Delivery
from messaging.testing.servers.waiting import wait_until
from messaging.transport import background, breakers, window
from messaging.transport.background import BackgroundPublisher
from messaging.transport.publisher import Publisher
from messaging.transport.window import PublishingWindow
from tests.support.lab import Lab


class SlowToConfirm:
    """Takes every message at once, and confirms when the test says so."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.unconfirmed: list[str] = []
        self.confirming = False

    def publish_begin(self, messages: list[OutgoingMessage]) -> None:
        self.written += [message.id for message in messages]
        self.unconfirmed += [message.id for message in messages]

    def publish_collect(self, timeout: float) -> dict[str, Confirmation]:
        if not self.confirming:
            return {}
        known, self.unconfirmed = self.unconfirmed, []
        return dict.fromkeys(known, Confirmation.CONFIRMED)

    @property
    def outstanding(self) -> int:
        return len(self.unconfirmed)

    def close(self) -> None:
        pass


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowToConfirm]:
    slow = SlowToConfirm()
    monkeypatch.setattr(background, "get_broker", lambda: slow)
    monkeypatch.setattr(background, "may_publish", lambda: True)
    breakers.forget()
    yield slow
    breakers.forget()


def sent(lab: Lab, count: int) -> list[UUID]:
    workflow = lab.workflow()
    return [lab.send(workflow, "a") for _ in range(count)]


def publisher_on(broker: SlowToConfirm) -> Publisher:
    return Publisher(cast(MessageBroker, broker), mark_every=0.0)


def written(broker: SlowToConfirm, count: int) -> bool:
    return len(broker.written) == count


def states() -> set[str]:
    return set(Delivery.objects.values_list("state", flat=True))


def test_the_next_burst_does_not_wait_for_confirms(lab: Lab, broker: SlowToConfirm) -> None:
    lab.agent("a")
    publisher = BackgroundPublisher()
    try:
        for number in range(1, 4):
            sent(lab, 1)
            publisher.offer(lab.take_offered())
            wait_until(partial(written, broker, number), 5, "the burst to be written")
        assert len(broker.unconfirmed) == 3
        assert states() == {"pending"}
        broker.confirming = True
        assert publisher.flush(5)
        assert states() == {"sent"}
    finally:
        publisher.close()


def test_a_full_window_waits_for_the_confirms_before_it(
    lab: Lab, broker: SlowToConfirm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "MAX_UNCONFIRMED", 2)
    lab.agent("a")
    writer = publisher_on(broker)
    waited: list[float] = []
    monkeypatch.setattr(writer, "flush", waited.append)
    bounded = PublishingWindow(writer, 0.1)
    sent(lab, 5)
    for stored in lab.take_offered():
        bounded.write([stored])
    assert waited == [0.1, 0.1]


def test_what_is_never_confirmed_is_left_to_the_relay(lab: Lab, broker: SlowToConfirm) -> None:
    lab.agent("a")
    silent = PublishingWindow(publisher_on(broker), 0.0)
    sent(lab, 2)
    silent.write(lab.take_offered())
    assert silent.collect(wait=False) == 2, "nobody waits for it any more"
    assert states() == {"pending"}
    broker.confirming = True
    assert silent.collect(wait=False) == 0
    assert states() == {"sent"}, "a late confirm still counts"
