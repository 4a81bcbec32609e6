"""A broker that fails or is overloaded: senders wait for nothing, nothing is lost, all goes on by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from unittest.mock import patch
from uuid import UUID, uuid4

import pytest
from pytest_django.fixtures import Settings

from messaging.api import HandlerContext, ReliableCommunicationBus, registry
from messaging.brokers import Confirmation, OutgoingMessage
from messaging.brokers.memory import InMemoryBroker
from messaging.core.breaker import BreakerState
from messaging.core.envelope import Envelope
from messaging.core.errors import BrokerUnavailable
from messaging.directory import names as directory
from messaging.models import Delivery, DeliveryState
from messaging.recovery.relay import Relay
from messaging.testing.servers.waiting import wait_until
from messaging.transport import background, breakers
from messaging.transport.background import BackgroundPublisher
from messaging.transport.current import get_broker
from messaging.transport.publisher import broker_breaker

pytestmark = pytest.mark.django_db(transaction=True)


class Switch:
    """Makes the broker of this process fail."""

    def __init__(self) -> None:
        self.down = False
        self.silent = False
        self.bursts = 0


@pytest.fixture
def switch(settings: Settings, nexus_publishing: None) -> Iterator[Switch]:
    settings.NEXUS = {
        "BROKER_URL": f"memory://{uuid4()}",
        "BREAKER_FAILURES": 3,
        "BREAKER_RESET": 0.3,
        "PUBLISH_GRACE": 0.2,
        "PUBLISH_TIMEOUT": 0.3,
        "RELAY_INTERVAL": 0.02,
    }
    breakers.forget()
    directory.forget()
    switch = Switch()
    begin, collect = InMemoryBroker.publish_begin, InMemoryBroker.publish_collect

    def publish_begin(broker: InMemoryBroker, messages: Sequence[OutgoingMessage]) -> None:
        switch.bursts += 1
        if switch.down:
            raise BrokerUnavailable("the test took it down")
        begin(broker, messages)

    def publish_collect(broker: InMemoryBroker, timeout: float) -> dict[str, Confirmation]:
        found = collect(broker, timeout)
        return dict.fromkeys(found, Confirmation.UNKNOWN) if switch.silent else found

    with (
        patch.object(InMemoryBroker, "publish_begin", publish_begin),
        patch.object(InMemoryBroker, "publish_collect", publish_collect),
    ):
        yield switch
    breakers.forget()


def ignore(message: Envelope, context: HandlerContext) -> None:
    """Take it."""


@pytest.fixture
def send(switch: Switch, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    publisher = BackgroundPublisher()
    monkeypatch.setattr(background, "_publisher", publisher)
    bus = ReliableCommunicationBus()
    bus.register_agent("a", ignore)
    bus.register_agent("web")
    get_broker().initialize()
    workflow = bus.start_workflow("overload")

    def send_one() -> None:
        bus.send(workflow, "a", "step", sender="web")
        publisher.flush(5)

    yield send_one
    publisher.close()
    registry.remove("a")
    directory.forget()


def states() -> set[str]:
    return set(Delivery.objects.values_list("state", flat=True))


def publish_all(relay: Relay) -> None:
    """Let the relay work until everything is published."""

    def done() -> bool:
        relay.turn()
        return states() == {DeliveryState.SENT}

    wait_until(done, 10, "the relay to publish everything")


def test_an_open_breaker_costs_a_sender_nothing_and_the_relay_goes_on(switch: Switch, send: Callable[[], None]) -> None:
    switch.down = True
    for _ in range(3):
        send()
    assert broker_breaker().state is BreakerState.OPEN
    bursts = switch.bursts
    began = monotonic()
    for _ in range(20):
        send()
    assert switch.bursts <= bursts + 1 + int((monotonic() - began) / 0.3), "only probes reach the broker"
    assert states() == {DeliveryState.PENDING}

    switch.down = False
    publish_all(Relay(get_broker()))
    assert broker_breaker().state is BreakerState.CLOSED, "the relay's success is everybody's"
    assert Delivery.objects.count() == 23


def test_the_breaker_closes_by_itself_without_a_relay(switch: Switch, send: Callable[[], None]) -> None:
    switch.down = True
    for _ in range(3):
        send()
    switch.down = False

    def closed() -> bool:
        send()
        return broker_breaker().state is BreakerState.CLOSED

    wait_until(closed, 10, "a probe to close the breaker", interval=0.05)
    assert DeliveryState.SENT in states()


def test_silence_opens_it_too(switch: Switch, send: Callable[[], None]) -> None:
    switch.silent = True
    for _ in range(3):
        send()
    assert broker_breaker().state is BreakerState.OPEN
    assert states() == {DeliveryState.PENDING}, "what nobody confirmed stays with the log"


def test_a_full_queue_of_the_publisher_leaves_the_rest_to_the_relay(
    settings: Settings, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.NEXUS = {**settings.NEXUS, "PUBLISH_QUEUE": 2}
    publisher = BackgroundPublisher()
    monkeypatch.setattr(publisher, "_run", lambda: None)
    monkeypatch.setattr(background, "_publisher", publisher)
    bus = ReliableCommunicationBus()
    bus.register_agent("a", ignore)
    bus.register_agent("web")
    try:
        workflow = bus.start_workflow("overload")
        sent: list[UUID] = [bus.send(workflow, "a", "step", sender="web").id for _ in range(5)]
    finally:
        registry.remove("a")
    publish_all(Relay(get_broker()))
    assert Delivery.objects.filter(message_id__in=sent, state=DeliveryState.SENT).count() == 5
