"""Workers that hang, consumers that went deaf, and workers that are told to stop."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from unittest.mock import Mock

import pytest
from pytest_django.fixtures import Settings

from messaging.api import Envelope, HandlerContext
from messaging.brokers import ReceivedMessage, Subscription
from messaging.brokers.memory import InMemoryBroker
from messaging.core.errors import BrokerUnavailable
from messaging.receiving import watchdog as watchdog_module
from messaging.receiving.consumer import Consumer
from messaging.receiving.watchdog import STUCK_EXIT_CODE, Watchdog
from messaging.recovery import due
from messaging.transport.current import get_broker
from tests.support.lab import Lab

pytestmark = pytest.mark.django_db(transaction=True)


def watched(*, turn_started: float | None = None, silent: list[str] | None = None) -> Mock:
    consumer = Mock(spec=Consumer)
    consumer.turn_started = turn_started
    consumer.gone = False
    consumer.silent_queues.return_value = silent or []
    return consumer


def test_a_handler_that_does_not_come_back_ends_its_process(settings: Settings) -> None:
    settings.NEXUS = {**settings.NEXUS, "STUCK_AFTER": 30}
    ended: list[int] = []
    consumer = watched(turn_started=100.0)
    for now, expected in ((129.0, []), (131.0, [STUCK_EXIT_CODE])):
        Watchdog([consumer], Mock(), end=ended.append, clock=lambda now=now: now).look()  # type: ignore[misc]
        assert ended == expected


def test_a_consumer_between_two_turns_is_not_stuck(settings: Settings) -> None:
    settings.NEXUS = {**settings.NEXUS, "STUCK_AFTER": 30}
    ended: list[int] = []
    Watchdog([watched()], Mock(), end=ended.append, clock=lambda: 1e9).look()
    assert ended == []


@pytest.mark.parametrize(("depth", "again"), [(3, True), (0, False)])
def test_a_consumer_that_hears_nothing_of_what_waits_subscribes_again(depth: int, again: bool) -> None:
    consumer, broker = watched(silent=["nexus.transactional"]), Mock()
    broker.queue_depth.return_value = depth
    Watchdog([consumer], broker).look()
    assert consumer.subscribe_again.called is again


def test_a_broker_that_is_down_does_not_disturb_the_watchdog() -> None:
    consumer, broker = watched(silent=["nexus.transactional"]), Mock()
    broker.queue_depth.side_effect = BrokerUnavailable("down")
    Watchdog([consumer], broker).look()
    assert not consumer.subscribe_again.called


def test_a_subscription_that_went_dead_is_replaced(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    lab.consumer.step()
    dead = set(map(id, lab.consumer._subscriptions.values()))
    receive = InMemoryBroker.receive

    def deaf(broker: InMemoryBroker, *subscriptions: Subscription, limit: int, timeout: float) -> list[ReceivedMessage]:
        alive = [subscription for subscription in subscriptions if id(subscription) not in dead]
        return receive(broker, *alive, limit=limit, timeout=timeout) if alive else []

    monkeypatch.setattr(InMemoryBroker, "receive", deaf)
    kept = list(lab.consumer._subscriptions.values())  # so that their ids are not used again
    lab.send(workflow, "a")
    lab.publish()
    lab.consumer.step()
    assert lab.ledger.handled(workflow, "a") == []

    monkeypatch.setattr(watchdog_module, "DEAF_AFTER", 0.0)
    Watchdog([lab.consumer], get_broker()).look()
    lab.consumer.step()
    lab.consumer.step()
    assert lab.ledger.handled(workflow, "a") == [1]
    assert len(kept) == 2


# --- a consumer thread that ends ---


class Killed(BaseException):
    """What no handler raises: it goes past all that catches errors."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("error", [Killed, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_consumer_whose_thread_ends_ends_its_process(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def killed(_: Consumer) -> None:
        raise error

    monkeypatch.setattr(Consumer, "_turn", killed)
    ended: list[int] = []
    consumer = Consumer(get_broker())
    consumer.start("test")
    consumer.join(20)
    assert consumer.gone
    Watchdog([consumer], Mock(), end=ended.append).look()
    assert ended == [STUCK_EXIT_CODE]


def test_a_consumer_that_was_told_to_end_is_not_gone(lab: Lab) -> None:
    consumer = Consumer(get_broker())
    assert not consumer.gone
    consumer.start("test")
    consumer.stop()
    consumer.join(20)
    assert not consumer.gone


def test_leases_are_renewed_while_the_consumer_handles_a_long_batch(lab: Lab) -> None:
    going_on = threading.Event()

    def slow(message: Envelope, context: HandlerContext) -> None:
        going_on.wait(20)

    lab.agent("slow", slow, leased=True)
    workflow = lab.workflow()
    lab.send(workflow, "slow")
    lab.publish()
    try:
        lab.consumer.step()
        lab.consumer.step()
        assert lab.states(workflow) == ["leased"]
        watchdog = Watchdog([lab.consumer], get_broker())
        for _ in range(5):
            lab.clock.advance(20.0)
            watchdog.renew_leases()
            due.end_expired_leases()
            assert lab.states(workflow) == ["leased"]
    finally:
        going_on.set()
    lab.settle()
    assert lab.states(workflow) == ["processed"]


def test_the_watchdog_ends_with_its_consumers(tmp_path: Path) -> None:
    watchdog = Watchdog([], Mock())
    watchdog.start()
    watchdog.stop()
    watchdog._thread.join(10)
    assert watchdog._thread not in threading.enumerate()


HOLDS_THE_INTERPRETER = """
import re
from unittest.mock import Mock
import django
django.setup()
from messaging.receiving import watchdog
watchdog.HELD_AFTER = watchdog.LOOK_EVERY = 0.2
watchdog.Watchdog([], Mock()).start()
import time
armed = time.monotonic() + 1
while time.monotonic() < armed:
    pass
print("holding", flush=True)
re.match("(a|a)*b", "a" * 60)
"""


def test_what_holds_the_interpreter_ends_its_process(project_environment: dict[str, str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", HOLDS_THE_INTERPRETER],
        env={**project_environment, "NEXUS_STUCK_AFTER": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.stdout == "holding\n"
    assert ended.returncode == 1
    assert "Timeout" in ended.stderr
