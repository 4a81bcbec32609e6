"""SequenceTracker and MessageDeduplicator, on both databases."""

from __future__ import annotations

import threading
from uuid import uuid4

import pytest
from django.db import connections, transaction

from messaging.api import Envelope, HandlerContext, MessageDeduplicator, Outgoing, SequenceTracker, UnknownWorkflow
from messaging.conf import get_settings
from messaging.models import ProcessedMessage
from messaging.recovery.pruning import prune_processed_ids
from tests.support.lab import Lab

THREADS = 8
WAIT = 60.0


def test_a_healthy_conversation_never_reports_a_gap(lab: Lab) -> None:
    """Each recipient sees only some of the numbers."""
    seen: list[dict[str, list[int]]] = []

    def talk(message: Envelope, context: HandlerContext) -> None:
        seen.append(SequenceTracker(message.workflow_id).missing())
        if message.data < 20:
            context.send({"a": "b", "b": "c", "c": "team"}[context.agent], "test.message", message.data + 1)

    for name in ("a", "b", "c"):
        lab.agent(name, talk)
    lab.bus.create_group("team", ["a"])
    workflow = lab.workflow()
    tracker = SequenceTracker(workflow)
    lab.send(workflow, "a", 0)
    for _ in range(30):
        lab.publish()
        seen.append(tracker.missing())
        lab.work()
    assert seen
    assert all(missing == {} for missing in seen)
    assert tracker.processed() == {"a": 7, "b": 7, "c": 7}
    assert tracker.pending() == {"a": 0, "b": 0, "c": 0}
    assert tracker.next_number() == 22
    assert tracker.is_processed(21)
    assert not tracker.is_processed(22)


def test_a_workflow_that_does_not_exist(lab: Lab) -> None:
    with pytest.raises(UnknownWorkflow):
        SequenceTracker(uuid4()).next_number()
    assert SequenceTracker(uuid4()).missing() == {}


def test_what_is_missing_is_told_by_positions(lab: Lab) -> None:
    lab.agent("a")
    lab.agent("b")
    workflow = lab.workflow()
    for name in "abababab":
        lab.send(workflow, name)
    offered = lab.take_offered()
    lab.put(offered[number] for number in (0, 4, 6, 1, 7))
    lab.work(3)
    assert SequenceTracker(workflow).missing() == {"a": [2], "b": [2, 3]}
    lab.put(offered)
    lab.settle()
    assert SequenceTracker(workflow).missing() == {}


def test_check_and_mark_says_yes_once(lab: Lab) -> None:
    deduplicator = MessageDeduplicator("tests")
    message = uuid4()
    assert not deduplicator.is_processed(message)
    assert deduplicator.check_and_mark(message)
    assert not deduplicator.check_and_mark(message)
    assert deduplicator.is_processed(message)
    assert MessageDeduplicator("others").check_and_mark(message)
    deduplicator.forget(message)
    assert deduplicator.check_and_mark(message)


def test_of_eight_threads_exactly_one_gets_each_message(lab: Lab) -> None:
    messages = [uuid4() for _ in range(25)]
    won: list[object] = []
    errors: list[BaseException] = []
    barrier = threading.Barrier(THREADS)

    def race() -> None:
        try:
            deduplicator = MessageDeduplicator("tests")
            barrier.wait(WAIT)
            won.extend(message for message in messages if deduplicator.check_and_mark(message))
        except Exception as error:  # noqa: BLE001 - the main thread reports it
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=race) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert errors == []
    assert sorted(map(str, won)) == sorted(map(str, messages))


def test_a_mark_rolls_back_with_its_transaction(lab: Lab) -> None:
    deduplicator = MessageDeduplicator("tests")
    message = uuid4()
    with transaction.atomic():
        assert deduplicator.check_and_mark(message)
        transaction.set_rollback(True)
    assert deduplicator.check_and_mark(message)


def test_a_mark_is_forgotten_after_its_time(lab: Lab) -> None:
    deduplicator = MessageDeduplicator("tests", ttl=10)
    message = uuid4()
    assert deduplicator.check_and_mark(message)
    lab.clock.advance(9)
    assert not deduplicator.check_and_mark(message)
    lab.clock.advance(2)
    assert not deduplicator.is_processed(message)
    assert deduplicator.check_and_mark(message)
    assert not deduplicator.check_and_mark(message)


def test_expired_marks_are_pruned_in_chunks_and_others_stay(lab: Lab) -> None:
    lab.configure(prune_chunk=10)
    for _ in range(35):
        MessageDeduplicator("short", ttl=5).check_and_mark(uuid4())
    MessageDeduplicator("long").check_and_mark(uuid4())
    lab.clock.advance(6)
    assert prune_processed_ids() == 35
    assert list(ProcessedMessage.objects.values_list("consumer", flat=True)) == ["long"]
    assert MessageDeduplicator.cleanup() == 0


def test_the_relay_prunes_what_the_consumer_marked(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    one = Outgoing(workflow_id=workflow, source="web", recipient="a", type="test.message", data=None)
    lab.bus.send_many([one] * 5)
    lab.settle()
    assert ProcessedMessage.objects.count() == 5
    lab.relay_turn(after=get_settings().dedup_ttl + 60)
    assert ProcessedMessage.objects.count() == 0


def test_the_default_lifetime_of_marks_outlives_every_way_to_arrive_again() -> None:
    assert get_settings().dedup_ttl >= get_settings().shortest_safe_dedup_ttl
