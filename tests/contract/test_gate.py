"""The receiving gate, on both databases: whatever comes in is let through or stopped, and a stop has one result.

The table of outcomes: each step and each way by which a delivery comes to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

import pytest
from django.db import OperationalError

from messaging import log
from messaging.api import TerminalError
from messaging.core.outcome import Outcome
from messaging.gate import receiving as gate
from messaging.gate.passage import Passage, Stop, received_passage
from messaging.models import DeadLetter, DeadReason, Delivery, Workflow
from messaging.receiving import consumer
from messaging.transport import wire
from tests.support.lab import Lab

STEPS = {step.__name__: step for step in (*gate.RECEIVING, *gate.IN_TRANSACTION)}

HEADERS: list[dict[str, object]] = [
    {},
    {"task": None},
    {"task": wire.DELIVER_TASK},
    {"task": wire.DELIVER_TASK, "id": object()},
    {"task": wire.DELIVER_TASK, "id": "01a20979-79aa-734d-91e4-96982d670001"},
    {"task": wire.DELIVER_TASK, "id": "01a20979-79aa-734d-91e4-96982d670001", "signature": b"\xff", "redelivery": "x"},
    {"task": wire.DELIVER_TASK, "id": "01a20979-79aa-734d-91e4-96982d670001", "redelivery": 10**30},
    {"task": "\ud800", "id": "\x00"},
]
BODIES = [b"", b"\x00", b"\xff\xfe", b"null", b"{}", b"[" * 5_000, b'{"id": 1}', b'{"specversion":"1.0"}', b"1e999999"]
TYPES = ["", "application/json", "application/cloudevents+json", "\ud800"]


@pytest.mark.parametrize("headers", HEADERS, ids=range(len(HEADERS)))
@pytest.mark.parametrize("content_type", TYPES, ids=ascii)
def test_garbage_is_stopped_by_a_step_that_raises_nothing(
    lab: Lab, headers: dict[str, object], content_type: str
) -> None:
    passages = [received_passage(lab.received(body, headers, content_type)) for body in BODIES]
    gate.admit(passages)
    for passage in passages:
        assert passage.stop is not None
        assert passage.stop.detail
        passage.stop.detail.encode()


# --- the table ---


class Stopping:
    """A step that does its own work, and stops marked deliveries once it is armed."""

    def __init__(self, step: gate.Step) -> None:
        self._step = step
        self.__name__ = step.__name__
        self.marked: set[UUID] = set()

    def __call__(self, passages: Sequence[Passage]) -> None:
        self._step(passages)
        for passage in passages:
            if passage.known_id in self.marked:
                passage.stop = Stop(Outcome.DEAD, DeadReason.INVALID_ENVELOPE, f"stopped by {self.__name__}")


@pytest.fixture(params=STEPS)
def stopping(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Stopping:
    armed = Stopping(STEPS[request.param])
    for name in ("RECEIVING", "IN_TRANSACTION"):
        steps = tuple(armed if step.__name__ == request.param else step for step in getattr(gate, name))
        monkeypatch.setattr(gate, name, steps)
    return armed


def first_delivery(lab: Lab, workflow: UUID, stopping: Stopping) -> UUID:
    lab.send(workflow, "a")
    (stored,) = lab.take_offered()
    stopping.marked.add(stored.id)
    lab.publish([stored])
    lab.work()
    return stored.id


def redelivery(lab: Lab, workflow: UUID, stopping: Stopping) -> UUID:
    lab.send(workflow, "a")
    (stored,) = lab.take_offered()
    stopping.marked.add(stored.id)
    lab.publish([stored, stored])
    lab.work()
    lab.put([stored])
    lab.work()
    return stored.id


def held_successor(lab: Lab, workflow: UUID, stopping: Stopping) -> UUID:
    lab.send(workflow, "a")
    lab.send(workflow, "a")
    first, second = lab.take_offered()
    lab.publish([second])
    lab.work()
    assert Delivery.objects.get(pk=second.id).state == "held"
    stopping.marked.add(second.id)
    lab.publish([first])
    lab.work()
    assert Delivery.objects.get(pk=first.id).state == "processed"
    return second.id


def replay(lab: Lab, workflow: UUID, stopping: Stopping) -> UUID:
    lab.agent("fails", _refuse)
    lab.send(workflow, "fails")
    (stored,) = lab.take_offered()
    lab.publish([stored])
    lab.work()
    letter = DeadLetter.objects.get(delivery=stored.id)
    stopping.marked.add(stored.id)
    lab.replay(letter.pk)
    letter.refresh_from_db()
    assert letter.status == "replayed"
    letter.delete()  # the one of before; what counts is what comes now
    lab.relay_turn(after=1.0)
    lab.work()
    return stored.id


def leased(lab: Lab, workflow: UUID, stopping: Stopping) -> UUID:
    lab.agent("slow", leased=True)
    lab.send(workflow, "slow")
    (stored,) = lab.take_offered()
    stopping.marked.add(stored.id)
    lab.publish([stored])
    lab.work(2)
    return stored.id


def suspect(lab: Lab, workflow: UUID, stopping: Stopping) -> UUID:
    lab.send(workflow, "a")
    (stored,) = lab.take_offered()
    lab.publish([stored])
    lab.consumer.take_and_die()
    lab.restart_consumer()
    stopping.marked.add(stored.id)
    lab.work()
    return stored.id


def given_up_by_the_broker(lab: Lab, workflow: UUID, stopping: Stopping) -> UUID:
    lab.send(workflow, "a")
    (stored,) = lab.take_offered()
    stopping.marked.add(stored.id)
    message = wire.delivery_message(stored)
    received = lab.received(message.body, dict(message.headers), message.content_type)
    lab.store_dead_letter(received)
    lab.store_dead_letter(received)  # the relay died before it acknowledged
    lab.settle()  # what no check stopped there comes again
    return stored.id


WAYS: list[Callable[[Lab, UUID, Stopping], UUID]] = [
    first_delivery,
    redelivery,
    held_successor,
    replay,
    leased,
    suspect,
    given_up_by_the_broker,
]


def _refuse(*_: object) -> None:
    raise TerminalError("no")


@pytest.mark.parametrize("policy", ["park", "skip"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_stop_leaves_one_visible_result(
    lab: Lab, stopping: Stopping, way: Callable[[Lab, UUID, Stopping], UUID], policy: str
) -> None:
    lab.agent("a")
    workflow, other = lab.workflow(failure_policy=policy), lab.workflow()
    delivery = way(lab, workflow, stopping)

    letter = DeadLetter.objects.get()
    assert (letter.delivery_id, letter.status, letter.reason) == (delivery, "open", "invalid_envelope")
    assert letter.detail == f"stopped by {stopping.__name__}"
    assert Delivery.objects.get(pk=delivery).state == "dead"
    assert Workflow.objects.get(pk=workflow).status == ("parked" if policy == "park" else "running")
    # It is not published again, and nobody else waits for it.
    lab.send(other, "a")
    if policy == "skip":
        lab.send(workflow, "a")
    lab.settle()
    assert DeadLetter.objects.count() == 1
    assert lab.ledger.handled(other, "a") == [1]
    if policy == "skip":
        assert Delivery.objects.filter(workflow=workflow).exclude(state__in=["processed", "dead"]).count() == 0


@pytest.mark.parametrize("policy", ["park", "skip"])
def test_what_is_stopped_before_its_turn_waits_for_it(lab: Lab, stopping: Stopping, policy: str) -> None:
    """Dead at once, it would be a gap behind which everything waits for ever."""
    lab.agent("a")
    workflow = lab.workflow(failure_policy=policy)
    for _ in range(3):
        lab.send(workflow, "a")
    first, second, third = lab.take_offered()
    stopping.marked.add(second.id)
    lab.publish([second])
    lab.work()
    assert Delivery.objects.get(pk=second.id).state == "held"
    lab.publish([third])
    lab.work()
    lab.publish([first])
    lab.settle()
    assert DeadLetter.objects.get().delivery_id == second.id
    assert lab.ledger.handled(workflow, "a") == ([1] if policy == "park" else [1, 3])


def test_a_forged_copy_proves_nothing_about_its_delivery(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    lab.send(workflow, "a")
    (stored,) = lab.take_offered()
    forged = log.StoredDelivery(stored.id, stored.workflow_id, stored.queue, b"{}", "")
    lab.put([forged, forged])
    assert lab.work() == {Outcome.REJECTED: 2}
    letter = DeadLetter.objects.get()
    assert (letter.delivery_id, letter.copies, bytes(letter.body)) == (None, 2, b"{}")
    lab.publish([stored])
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1]


def test_a_check_that_cannot_decide_is_asked_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    away = True

    def undecided(passages: Sequence[Passage]) -> None:
        for passage in passages if away else ():
            passage.stop = Stop(Outcome.RETRY, DeadReason.CHECK_FAILED, "the key store is away")

    monkeypatch.setattr(gate, "RECEIVING", (*gate.RECEIVING, undecided))
    lab.agent("a")
    workflow = lab.workflow()
    message = lab.send(workflow, "a")
    lab.publish()
    assert lab.work() == {Outcome.RETRY: 1}
    delivery = Delivery.objects.get(message=message)
    assert (delivery.state, delivery.attempts, delivery.last_error) == ("pending", 0, "the key store is away")
    away = False
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1]
    assert not DeadLetter.objects.exists()


def test_a_check_that_fails_is_a_refusal_of_what_it_fails_for(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def fragile(passages: Sequence[Passage]) -> None:
        for passage in passages:
            if passage.envelope.data == "poison":
                raise KeyError("secret")

    monkeypatch.setattr(gate, "RECEIVING", (*gate.RECEIVING, fragile))
    lab.agent("a")
    bad, good = lab.workflow(), lab.workflow()
    lab.send(bad, "a", "poison")
    lab.send(good, "a", "fine")
    lab.publish()
    assert lab.work() == {Outcome.DEAD: 1, Outcome.PROCESSED: 1}
    letter = DeadLetter.objects.get()
    assert (letter.reason, letter.workflow_id) == ("check_failed", bad)
    assert "fragile" in letter.detail
    assert "secret" not in letter.detail


def test_a_check_whose_database_is_lost_is_repeated(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = True

    def asks(passages: Sequence[Passage]) -> None:
        if lost:
            raise OperationalError("the connection is lost")

    monkeypatch.setattr(gate, "RECEIVING", (*gate.RECEIVING, asks))
    lab.agent("a")
    workflow = lab.workflow()
    lab.send(workflow, "a")
    lab.publish()
    lab.consumer.guarded_step()
    assert lab.states(workflow) == ["sent"]
    lost = False
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1]
    assert not DeadLetter.objects.exists()


def test_a_full_batch_whose_database_is_lost_is_checked_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing more is received then, and what is at hand must not wait for more."""
    lost = True

    def asks(passages: Sequence[Passage]) -> None:
        if lost:
            raise OperationalError("the connection is lost")

    monkeypatch.setattr(gate, "RECEIVING", (*gate.RECEIVING, asks))
    monkeypatch.setattr(consumer.Consumer, "_database_answers", staticmethod(lambda _: False))
    lab.configure(batch_size=2)
    lab.restart_consumer()
    lab.agent("a")
    workflow = lab.workflow()
    for _ in range(2):
        lab.send(workflow, "a")
    lab.publish()
    for _ in range(3):
        lab.consumer.guarded_step()
    lost = False
    for _ in range(3):
        lab.consumer.guarded_step()
    assert lab.ledger.handled(workflow, "a") == [1, 2]
