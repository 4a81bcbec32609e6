"""Recovery, on both databases: the relay publishes what is due and repairs what is stuck, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from uuid import UUID

import pytest
from django.db import connection, connections, transaction

from messaging.api import Outgoing
from messaging.brokers.base import Confirmation, OutgoingMessage
from messaging.brokers.topology import DEAD_LETTER_QUEUE, LEASED_QUEUE, TRANSACTIONAL_QUEUE
from messaging.models import Delivery, QueueMarker, RelayLease
from messaging.recovery import due
from messaging.recovery.dead_letter_queue import DeadLetterReader
from messaging.recovery.relay import Relay
from tests.support.lab import Lab

WAIT = 20.0


@pytest.fixture
def second(lab: Lab) -> Relay:
    return Relay(lab.broker)


def burst(lab: Lab, workflow: UUID, count: int) -> None:
    one = Outgoing(workflow_id=workflow, source="web", recipient="a", type="test.message", data=None)
    lab.bus.send_many([one] * count)


def deliveries_in(lab: Lab, queue: str) -> int:
    """Messages that wait in a queue, without markers."""
    subscription = lab.broker.subscribe(queue, prefetch=100_000)
    found = lab.broker.receive(subscription, limit=100_000, timeout=0.0)
    lab.broker.unsubscribe(subscription)
    return sum(1 for message in found if message.headers["task"] == "messaging.deliver")


def test_what_nobody_published_is_published_after_a_grace(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    burst(lab, workflow, 3)
    lab.take_offered()
    lab.relay_turn()
    assert deliveries_in(lab, TRANSACTIONAL_QUEUE) == 0, "its own process is about to publish it"
    lab.relay_turn(after=3.1)
    assert deliveries_in(lab, TRANSACTIONAL_QUEUE) == 3
    assert lab.states(workflow) == ["sent"] * 3


def test_two_relays_side_by_side_publish_a_row_once(lab: Lab, second: Relay) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    burst(lab, workflow, 30)
    lab.take_offered()
    lab.clock.advance(3.1)
    for relay in (lab.relay, second, lab.relay, second):
        relay.turn()
    assert deliveries_in(lab, TRANSACTIONAL_QUEUE) == 30


def test_the_relay_waits_for_confirms_as_long_as_the_settings_say(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.configure(publish_timeout=7.5)
    relay = Relay(lab.broker)
    publish_many, waits = lab.broker.publish_many, dict[str, float | None]()

    def publish(messages: Sequence[OutgoingMessage], *, timeout: float | None = None) -> dict[str, Confirmation]:
        waits.update({str(message.headers["task"]): timeout for message in messages})
        return publish_many(messages, timeout=timeout)

    monkeypatch.setattr(lab.broker, "publish_many", publish)
    lab.agent("a")
    burst(lab, lab.workflow(), 1)
    lab.take_offered()
    lab.clock.advance(3.1)
    relay.turn()
    assert waits == {"messaging.deliver": 7.5, "messaging.mark": 7.5}


def test_even_two_leaders_publish_a_row_once(lab: Lab) -> None:
    """A former leader that wakes up does no harm: rows are claimed before they are published."""
    lab.agent("a")
    workflow = lab.workflow()
    burst(lab, workflow, 30)
    lab.take_offered()
    lab.clock.advance(3.1)
    (first, _), (other, _) = due.claim_pending(), due.claim_pending()
    assert (len(first), len(other)) == (30, 0)
    lab.clock.advance(8.1)
    again, _ = due.claim_pending()
    assert len(again) == 30, "the one that claimed them died"


def test_claims_of_two_relays_at_the_same_moment_are_disjoint(lab: Lab, database_vendor: str) -> None:
    if database_vendor != "postgres":
        pytest.skip("SQLite has one writer at a time")
    lab.agent("a")
    workflow = lab.workflow()
    burst(lab, workflow, 1_000)
    lab.take_offered()
    lab.clock.advance(3.1)
    claimed: list[UUID] = []
    barrier = threading.Barrier(4)

    def claim() -> None:
        barrier.wait(WAIT)
        mine, _ = due.claim_pending()
        claimed.extend(stored.id for stored in mine)
        connections.close_all()

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert len(claimed) == len(set(claimed)) >= 500


def test_another_relay_takes_over_within_seconds(lab: Lab, second: Relay) -> None:
    lab.relay_turn()
    second.turn()
    assert RelayLease.objects.count() == 1
    lab.agent("a")
    workflow = lab.workflow()
    burst(lab, workflow, 1)
    lab.take_offered()
    lab.clock.advance(3.1)
    second.turn()
    assert lab.states(workflow) == ["sent"], "the first one, dead since 3 s, does not lead any more"


def test_a_relay_that_stops_hands_over_at_once(lab: Lab, second: Relay) -> None:
    lab.relay_turn()
    lab.relay.stop()
    lab.relay.run()
    lab.clock.advance(1.1)
    second.turn()
    lease = RelayLease.objects.get()
    assert lease.token == second._leadership.token


def test_a_former_leader_gives_back_the_dead_letters_it_holds(lab: Lab, second: Relay) -> None:
    lab.relay_turn()
    reader = lab.relay._dead_letters
    assert isinstance(reader, DeadLetterReader)
    lab.hold_dead_letters(3)
    lab.clock.advance(3.1)
    second.turn()
    lab.relay_turn(after=1.1)
    assert lab.broker.queue_depth(DEAD_LETTER_QUEUE) == 3


def test_a_backlog_that_nobody_reads_is_not_published_again(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    burst(lab, workflow, 10_000)
    lab.publish_quickly()
    for _ in range(20):
        lab.relay_turn(after=60)
    assert deliveries_in(lab, TRANSACTIONAL_QUEUE) == 10_000
    assert not Delivery.objects.filter(redeliveries__gt=0).exists()


def test_markers_stay_few_while_nobody_reads(lab: Lab) -> None:
    for _ in range(300):
        lab.relay_turn(after=12)
    assert lab.broker.queue_depth(TRANSACTIONAL_QUEUE) < 100
    assert lab.broker.queue_depth(LEASED_QUEUE) < 100


def test_what_the_broker_lost_is_published_again_once_a_marker_came_through(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    burst(lab, workflow, 20)
    lab.publish()
    assert set(lab.states(workflow)) == {"sent"}
    lab.lose_queues()
    for _ in range(3):
        lab.relay_turn(after=11)
        assert set(lab.states(workflow)) == {"sent"}, "no marker was seen yet"
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == list(range(1, 21))


def test_markers_that_were_lost_too_are_replaced(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    burst(lab, workflow, 5)
    lab.publish()
    for _ in range(5):
        lab.relay_turn(after=11)
    lab.lose_queues()
    lab.settle(step=5.0, rounds=100)
    assert lab.ledger.handled(workflow, "a") == [1, 2, 3, 4, 5]


def test_every_loss_makes_the_next_look_later(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    burst(lab, workflow, 1)
    for _ in range(150):
        lab.relay_turn(after=4)
        lab.lose_deliveries()
        lab.work()
    losses = Delivery.objects.get(workflow=workflow).redeliveries
    assert 3 <= losses <= 8
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1]


def test_a_gap_is_closed_from_the_log(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    burst(lab, workflow, 3)
    first, *others = lab.take_offered()
    lab.publisher_notes([first])  # confirmed, but it is in no queue, and no marker ever comes through
    lab.put(others)
    lab.work()
    assert lab.states(workflow) == ["sent", "held", "held"]
    QueueMarker.objects.all().delete()
    for _ in range(8):
        lab.relay_turn(after=10)
    lab.work(3)
    assert lab.ledger.handled(workflow, "a") == [1, 2, 3]


def test_what_is_settled_at_this_moment_is_not_held_again(lab: Lab, database_vendor: str) -> None:
    if database_vendor != "postgres":
        pytest.skip("SQLite has one writer at a time")
    lab.agent("a")
    workflow = lab.workflow()
    burst(lab, workflow, 2)
    first, second = lab.take_offered()
    lab.put([second])
    lab.work()
    lab.clock.advance(61)
    finished = threading.Event()

    def repair() -> None:
        due.replay_gaps()
        connections.close_all()
        finished.set()

    thread = threading.Thread(target=repair)
    with transaction.atomic():
        Delivery.objects.filter(pk=second.id).update(state="processed")
        thread.start()
        finished.wait(0.5)
    thread.join(WAIT)
    assert Delivery.objects.get(pk=second.id).state == "processed"
    assert connection.in_atomic_block is False
    assert first.id != second.id


def test_overdue_workflows_expire(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow(deadline=10)
    burst(lab, workflow, 2)
    copies = lab.take_offered()
    lab.relay_turn(after=11)
    assert lab.states(workflow) == ["expired"] * 2
    lab.put(copies)
    lab.work()
    assert lab.ledger.attempts == []
