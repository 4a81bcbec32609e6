"""The whole system in one thread, a step at a time, with a clock that tests move.

A ``Lab`` has a bus, a broker in memory, a consumer and a relay. Nothing happens by itself: what was sent lies ready
until the test publishes it (or drops, doubles or shuffles it), the consumer and the relay take a turn when told to.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any
from unittest.mock import patch
from uuid import UUID, uuid4

import pytest
from pytest_django.fixtures import Settings

from messaging import log
from messaging.api import (
    AgentSpec,
    Envelope,
    HandlerContext,
    HandlerKind,
    MessageBroker,
    OutgoingMessage,
    ReceivedMessage,
    ReliableCommunicationBus,
    RetryPolicy,
    registry,
)
from messaging.brokers.topology import DEAD_LETTER_EXCHANGE, LEASED_QUEUE, TRANSACTIONAL_QUEUE
from messaging.core.outcome import Outcome
from messaging.core.registry import Handler
from messaging.directory import names as directory
from messaging.models import POLLED_STATES, Delivery, DeliveryState
from messaging.observing import minutes
from messaging.receiving import consumer
from messaging.recovery import dead_letter_queue, replay
from messaging.recovery.relay import Relay
from messaging.security.encryption import keys as encryption
from messaging.security.schemas.current import installed_schemas
from messaging.security.signatures import keys
from messaging.sending import durable
from messaging.transport import wire
from messaging.transport.current import get_broker
from messaging.transport.publisher import Publisher
from tests.support.ledger import Ledger
from tests.support.stepping import Clock, Died, Offers, SteppedConsumer


class Lab:
    """See the module.

    Args:
        settings: pytest-django's.
        monkeypatch: pytest's.
        options: NEXUS settings, in lower case.
    """

    def __init__(self, settings: Settings, monkeypatch: pytest.MonkeyPatch, **options: object) -> None:
        self._settings = settings
        self._options: dict[str, object] = {
            "BROKER_URL": f"memory://{uuid4()}",
            "RELAY_INTERVAL": 0.01,
            "LEASED_CONCURRENCY": 4,
            "LOCAL_DELIVERY": "off",  # what handlers send lies ready too, until the test publishes it
        }
        self.configure(**options)
        self.clock = Clock(monkeypatch)
        offers = Offers()
        monkeypatch.setattr(durable, "background_publisher", lambda: offers)
        monkeypatch.setattr(consumer, "IDLE_WAIT", 0.0)
        monkeypatch.setattr(minutes, "MAX_BACK", 1)  # of the ten that each step of the clock leaves behind
        self._offers = offers
        self._agents: list[str] = []
        self.ledger = Ledger()
        self.bus = ReliableCommunicationBus()
        directory.forget()
        keys.forget()
        encryption.forget()
        installed_schemas.forget_stored()
        self.broker: MessageBroker = get_broker()
        self.broker.initialize()
        self.consumer = SteppedConsumer(self.broker)
        self.relay = Relay(self.broker)
        self.bus.register_agent("web")

    def configure(self, **options: object) -> None:
        """Change NEXUS settings; objects made before keep what they read at their start."""
        self._options.update({name.upper(): value for name, value in options.items()})
        self._settings.NEXUS = dict(self._options)

    def close(self) -> None:
        """End the consumer and forget the agents."""
        self.consumer.die()
        self.broker.close()
        for name in self._agents:
            registry.remove(name)
        directory.forget()
        installed_schemas.forget_stored()

    # --- agents and workflows ---

    def agent(
        self,
        name: str,
        handler: Handler | None = None,
        *,
        leased: bool = False,
        retry: RetryPolicy | None = None,
        models: dict[str, Any] | None = None,
    ) -> None:
        """Register an agent; its handler writes to the ledger, then does what ``handler`` does."""

        def handle(message: Envelope, context: HandlerContext) -> Any:
            self.ledger.attempt(message, context)
            if not leased:
                self.ledger.record(message, context)
            return None if handler is None else handler(message, context)

        kind = HandlerKind.LEASED if leased else HandlerKind.TRANSACTIONAL
        registry.remove(name)
        self.bus.register_agent(name, handle, kind=kind, retry=retry)
        if models:
            registry.register(replace(registry.require(name), models=models))
        self._agents.append(name)

    def async_agent(self, name: str, handler: Handler) -> None:
        """Register a leased agent with an async handler, which writes to no ledger."""
        registry.remove(name)
        self.bus.register_agent(name, handler, kind=HandlerKind.LEASED)
        self._agents.append(name)

    def forget(self, name: str) -> None:
        """Leave an agent in the registry at the end."""
        self._agents.remove(name)

    def unregister(self, name: str) -> None:
        """Let this process forget an agent; its row stays."""
        registry.remove(name)

    def spec(self, name: str) -> AgentSpec | None:
        """An agent as this process knows it."""
        return registry.get(name)

    def workflow(self, **options: Any) -> UUID:
        """Start a workflow."""
        return self.bus.start_workflow("test", **options)

    def send(self, workflow: UUID, recipient: str, data: Any = None, **options: Any) -> UUID:
        """Send a message from "web"; return its id."""
        return self.bus.send(workflow, recipient, "test.message", data, sender="web", **options).id

    # --- transport ---

    def take_offered(self) -> list[log.StoredDelivery]:
        """What sends left for the publisher; it is the caller's now."""
        taken, self._offers.waiting = self._offers.waiting, []
        return taken

    def publish(self, deliveries: Iterable[log.StoredDelivery] | None = None) -> None:
        """Publish deliveries, in this order; what sends offered when left out."""
        chosen = self.take_offered() if deliveries is None else list(deliveries)
        writer = Publisher(self.broker, mark_every=0.0)
        for stored in chosen:  # one burst each: the same delivery may be in it twice
            writer.begin([stored])
            writer.flush(1.0)

    def publisher_notes(self, deliveries: Iterable[log.StoredDelivery]) -> None:
        """The publisher's mark, coming late."""
        writer = Publisher(self.broker)
        writer._confirmed += [stored.id for stored in deliveries]
        writer.mark()

    def put(self, deliveries: Iterable[log.StoredDelivery]) -> None:
        """Put deliveries on the broker without a mark in the log: duplicates, or what a dead publisher left behind."""
        for stored in deliveries:
            self.broker.publish(wire.delivery_message(stored))

    def publish_quickly(self) -> None:
        """Publish what sends offered in bursts of 500."""
        offered, writer = self.take_offered(), Publisher(self.broker, mark_every=0.0)
        for start in range(0, len(offered), 500):
            writer.begin(offered[start : start + 500])
            writer.flush(5.0)

    def lose_queues(self) -> None:
        """Lose what is in the work queues, as when the broker loses its disk."""
        for queue in (TRANSACTIONAL_QUEUE, LEASED_QUEUE):
            self._drop(queue, lambda _: True)

    def lose_deliveries(self) -> None:
        """Lose the deliveries in the work queues; markers stay."""
        for queue in (TRANSACTIONAL_QUEUE, LEASED_QUEUE):
            self._drop(queue, lambda message: message.headers["task"] == wire.DELIVER_TASK)

    def _drop(self, queue: str, lost: Callable[[ReceivedMessage], bool]) -> None:
        subscription = self.broker.subscribe(queue, prefetch=100_000)
        messages = self.broker.receive(subscription, limit=100_000, timeout=0.0)
        self.broker.acknowledge([message for message in messages if lost(message)])
        self.broker.unsubscribe(subscription)

    def hold_dead_letters(self, count: int) -> None:
        """Let the relay's reader receive dead letters that it does not get to store."""
        for number in range(count):
            self.broker.publish(
                OutgoingMessage(
                    id=str(number), body=b"x", exchange=DEAD_LETTER_EXCHANGE, routing_key="", headers={"task": "x"}
                )
            )
        with patch.object(dead_letter_queue, "store", side_effect=Died), suppress(Died):
            self.relay._dead_letters.read()

    @staticmethod
    def received(body: bytes, headers: dict[str, Any], content_type: str) -> ReceivedMessage:
        """A message as a broker hands it out."""
        return ReceivedMessage(
            queue="", body=body, headers=headers, content_type=content_type, redelivered=False, tag=1
        )

    @staticmethod
    def store_dead_letter(message: ReceivedMessage) -> None:
        """What the relay does with a message of the dead-letter queue."""
        dead_letter_queue.store(message)

    # --- turns ---

    def work(self, turns: int = 1) -> Counter[Outcome]:
        """Let the consumer take turns, until its leased handlers are done; return what came out of them."""
        before = self.consumer.outcomes.copy()
        for _ in range(turns):
            self.consumer.step()
        deadline = time.monotonic() + 20
        while not self.consumer.idle() and time.monotonic() < deadline:
            self.consumer.step()
        return self.consumer.outcomes - before

    def restart_consumer(self) -> None:
        """Replace the consumer, as after a kill."""
        self.consumer.die()
        self.consumer = SteppedConsumer(self.broker)

    def new_consumer(self) -> None:
        """Start another consumer; the old one is the caller's to end."""
        self.consumer = SteppedConsumer(self.broker)

    @staticmethod
    def replay(dead_letter: int) -> None:
        """Put a dead letter back."""
        replay.replay(dead_letter)

    @staticmethod
    def discard(dead_letter: int) -> None:
        """Give a dead letter up."""
        replay.discard(dead_letter)

    def relay_turn(self, *, after: float = 0.0) -> None:
        """Let seconds pass and the relay take a turn."""
        self.clock.advance(after)
        self.relay.turn()

    def settle(self, *, step: float = 20.0, rounds: int = 60) -> None:
        """Publish, work and relay, letting time pass, until nothing is left to do.

        Raises:
            AssertionError: something still waits after all rounds.
        """
        for _ in range(rounds):
            self.publish()
            self.work(2)
            if not self.waiting() and self.consumer.idle():
                return
            self.relay_turn(after=step)
        raise AssertionError(f"still waiting: {list(self.waiting())}")

    # --- looking ---

    @staticmethod
    def waiting() -> list[tuple[str, int, str]]:
        """(agent, position, state) of deliveries in running workflows that are not done."""
        return list(
            Delivery.objects.filter(state__in=POLLED_STATES, workflow__status="running").values_list(
                "agent", "position", "state"
            )
        )

    @staticmethod
    def states(workflow: UUID) -> list[str]:
        """The states of a workflow's deliveries, in order."""
        return list(
            Delivery.objects.filter(workflow=workflow)
            .order_by("message__sequence", "id")
            .values_list("state", flat=True)
        )

    @staticmethod
    def state_of(message: UUID) -> str:
        """The state of a message's only delivery."""
        return str(Delivery.objects.values_list("state", flat=True).get(message=message))

    @staticmethod
    def all_processed(workflow: UUID) -> bool:
        """Whether every delivery of a workflow is processed."""
        return not Delivery.objects.filter(workflow=workflow).exclude(state=DeliveryState.PROCESSED).exists()

    def until(self, condition: Callable[[], bool], *, step: float = 0.5, rounds: int = 100) -> None:
        """Like ``settle``, until a condition holds."""
        for _ in range(rounds):
            if condition():
                return
            self.publish()
            self.work()
            self.relay_turn(after=step)
        raise AssertionError("the condition did not come true")
