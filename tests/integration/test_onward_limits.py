"""Where a transaction goes onward: what its handlers see and swallow, what may not go along, and workers that die."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from django.db import DatabaseError, connection, transaction

from messaging import log
from messaging.api import Envelope, HandlerContext, LabelPolicy, TransientError, registry
from messaging.directory import pausing
from messaging.models import DeadLetter, DeadReason, Delivery, DeliveryState, Message, MetricTally
from messaging.operators.verifying import verify_log
from messaging.receiving.transactional import execution
from tests.integration.test_onward import (
    NAMES,
    ONCE_MORE,
    begin,
    count_down,
    counting,
    following,
    handled,
    onward,
    plan,
    sound,
)
from tests.support.lab import Lab
from tests.support.ledger import read
from tests.support.stepping import Died

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["onward"]


def begin_bare(lab: Lab, data: Any, handler: Callable[[Envelope, HandlerContext], None]) -> UUID:
    """As ``begin``, with handlers that touch the database only by what ``handler`` does, until they are done."""

    def handle(message: Envelope, context: HandlerContext) -> None:
        lab.ledger.attempt(message, context)
        handler(message, context)
        lab.ledger.record(message, context)

    workflow = begin(lab, data)
    for name in NAMES:
        registry.remove(name)
        lab.bus.register_agent(name, handle, retry=ONCE_MORE)
    return workflow


def test_a_block_of_the_driver_that_is_rolled_back_takes_no_message_along(lab: Lab) -> None:
    """Django knows nothing of it: what is written for the handler's first statement stands inside the block."""
    if connection.vendor != "postgresql":
        pytest.skip("a block of psycopg's")

    def tries(message: Envelope, context: HandlerContext) -> None:
        if message.data == 3:
            with suppress(RuntimeError), connection.connection.transaction():
                assert Message.objects.filter(pk=message.message_id).exists()
                raise RuntimeError
        if message.data == 2:  # it stays in pong's mailbox, whose counter hides what is missing before it
            context.send("pong", "test.message", 0, expires_in=1e-6)
        elif message.data:
            count_down(message, context)

    workflow = begin_bare(lab, 4, tries)
    lab.settle()
    assert lab.states(workflow) == ["processed", "processed", "processed", "expired"]
    assert list(verify_log([workflow])) == []


def test_a_failed_write_that_a_handler_swallows(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = iter([True])
    close = log.close_batch

    def fails(*arguments: Any, **options: Any) -> None:
        if not options and next(failures, False):
            raise DatabaseError("the disk is full")
        close(*arguments, **options)

    def looks(message: Envelope, context: HandlerContext) -> None:
        with suppress(DatabaseError):
            Message.objects.filter(pk=message.message_id).exists()
        count_down(message, context)

    monkeypatch.setattr(log, "close_batch", fails)
    workflow = begin_bare(lab, 4, looks)
    lab.settle()
    assert next(failures, None) is None
    assert handled(workflow) == 5
    sound(workflow)


def test_labels_from_before_are_remembered(lab: Lab) -> None:
    found: dict[tuple[str, int], str] = {}

    def note(message: Envelope, context: HandlerContext) -> None:
        found[context.agent, message.data] = str(context.labels)
        count_down(message, context)

    workflow = begin(lab, 0, note)
    lab.bus.send(workflow, "ping", "test.message", 0, sender="web", labels="origin:web")
    lab.settle()
    lab.bus.send(workflow, "pong", "test.message", 2, sender="ping")
    lab.publish()
    lab.consumer.step()
    assert found["pong", 2] == ""
    assert found["ping", 1] == "origin:web"
    assert found["pong", 0] == "origin:web"
    sound(workflow)


def test_handlers_see_what_others_know(lab: Lab) -> None:
    seen: list[str] = []

    def look(message: Envelope, context: HandlerContext) -> None:
        seen.append(str(lab.bus.state_labels(message.workflow_id, "ping")))
        labels = "origin:web" if message.data == 3 else None
        if message.data:
            context.send("pong" if context.agent == "ping" else "ping", "test.message", message.data - 1, labels=labels)

    workflow = begin(lab, 4, look)
    lab.consumer.step()
    assert seen == ["", "", "", "origin:web", "origin:web"]
    sound(workflow)


@pytest.mark.parametrize("way", ["bus", "group", "new"])
def test_a_small_backlog(lab: Lab, way: str) -> None:
    """What was handled in this transaction is no backlog."""
    lab.bus.create_group("some")
    others = [f"other{number}" for number in range(9)]
    for name in others:
        lab.agent(name)
    lab.agent("member")
    lab.bus.add_member("some", "member")
    lab.configure(max_backlog_per_mailbox=2)

    def also(message: Envelope, context: HandlerContext) -> None:
        if message.data and way == "bus":
            lab.bus.send(message.workflow_id, others[message.data], "test.message", 0, sender=context.agent)
        elif message.data % 4 == 1 and way == "group":
            context.send("some", "test.message", 0)
        elif message.data and way == "new":
            context.send(others[message.data], "test.message", 0)
        count_down(message, context)

    workflow = begin(lab, 8, also)
    lab.consumer.step()
    assert DeadLetter.objects.count() == 0
    assert handled(workflow) >= 9
    lab.settle()
    assert DeadLetter.objects.count() == 0
    sound(workflow)


def test_a_handler_that_pauses_whom_it_sends_to(lab: Lab) -> None:
    def pauses(message: Envelope, context: HandlerContext) -> None:
        if message.data == 2:
            pausing.pause_agent("pong")
        count_down(message, context)

    workflow = begin(lab, 4, pauses)
    lab.work()
    assert handled(workflow) == 3
    pausing.resume_agent("pong")
    lab.settle()
    sound(workflow)


def test_what_an_agent_refuses_by_its_labels(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    def brings(message: Envelope, context: HandlerContext) -> None:
        context.send("third", "test.message", 0, labels="origin:web")

    def handle(message: Envelope, context: HandlerContext) -> None:
        raise AssertionError("never called")

    workflow = begin(lab, 1, brings)
    registry.remove("third")
    lab.bus.register_agent("third", handle, accepts_labels=LabelPolicy())
    with caplog.at_level(logging.ERROR):
        lab.settle()
    assert lab.states(workflow) == ["processed", "dead"]
    assert DeadLetter.objects.get(workflow=workflow).reason == DeadReason.LABELS
    assert "The check" not in caplog.text


def test_what_expires_at_once(lab: Lab) -> None:
    def brief(message: Envelope, context: HandlerContext) -> None:
        if message.data:
            context.send("pong", "test.message", 0, expires_in=1e-6)

    workflow = begin(lab, 1, brief)
    lab.settle()
    assert lab.states(workflow) == ["processed", "expired"]


def test_encrypted_messages_go_along(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.configure(encrypted_types="test.message")
    lab.restart_consumer()
    workflow = begin(lab, 5)
    with counting(monkeypatch) as sizes:
        lab.consumer.step()
    assert sizes == [6]
    sound(workflow)


def test_external_and_leased_agents_in_between(lab: Lab) -> None:
    lab.agent("slow", leased=True)

    def mixed(message: Envelope, context: HandlerContext) -> None:
        if message.data:
            context.send("slow", "test.message", 0)
            context.send("web", "test.message", 0)
            context.send("third", "test.message", 0)
            context.send("third", "test.message", 0, delay=5.0)
        count_down(message, context)

    workflow = begin(lab, 5, mixed)
    lab.settle()
    lab.relay_turn(after=10.0)
    lab.settle()
    assert lab.all_processed(workflow)
    assert Delivery.objects.filter(workflow=workflow, agent="third").count() == 10


def test_suspects_go_nowhere(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever kills a worker onward would be counted against what sent it."""
    first, second = begin(lab, 3), begin(lab, 3)
    lab.consumer.take_and_die()
    lab.restart_consumer()
    with counting(monkeypatch) as sizes:
        lab.consumer.step()
    assert sizes == [2]
    lab.settle()
    sound(first)
    sound(second)


def test_metrics_equal_the_log(lab: Lab) -> None:
    lab.configure(metrics="on")
    lab.restart_consumer()
    failed: list[int] = []

    def fails(message: Envelope, context: HandlerContext) -> None:
        if message.data == 2 and len(failed) < 2:
            failed.append(1)
            raise TransientError("not yet")
        count_down(message, context)

    workflow = begin(lab, 5, fails)
    lab.settle()
    sound(workflow)
    sums: dict[tuple[str, str], int] = {}
    for name, label, value in MetricTally.objects.values_list("name", "label", "value"):
        sums[name, label] = sums.get((name, label), 0) + value
    assert sums["sent", ""] == 6
    assert sums["outcome", "processed"] == 6


def test_what_waits_for_the_commit_is_done_once(lab: Lab) -> None:
    done: list[int] = []

    def later(message: Envelope, context: HandlerContext) -> None:
        transaction.on_commit(lambda data=message.data: done.append(data))  # type: ignore[misc]
        if message.data == 2 and 4 not in done:
            raise TransientError("not yet")
        count_down(message, context)

    workflow = begin(lab, 4, later)
    lab.settle()
    assert sorted(done) == [0, 1, 2, 3, 4]
    sound(workflow)


@pytest.mark.parametrize("policy", ["park", "skip"])
def test_what_is_held_behind_a_failure(lab: Lab, policy: str) -> None:
    def refuses(message: Envelope, context: HandlerContext) -> None:
        if message.data == 3:
            raise ValueError("never")
        count_down(message, context)

    workflow = begin(lab, 4, refuses, failure_policy=policy)
    for data in (2, 4):
        lab.send(workflow, "ping", data)
    lab.publish(reversed(lab.take_offered()))
    lab.settle()
    dead = Delivery.objects.filter(workflow=workflow, state=DeliveryState.DEAD).count()
    # ping: 4, 2, 4 and pong's answers to 3, 1, 3, unless pong parked the workflow at the first.
    assert (dead, DeadLetter.objects.count()) == ((1, 1) if policy == "park" else (2, 2))
    if policy == "skip":
        assert handled(workflow) + dead == Delivery.objects.filter(workflow=workflow).count() == 7


@pytest.mark.parametrize("seed", range(int(os.environ.get("ONWARD_SEEDS", "4"))))
def test_random_work_of_workers_that_die(lab: Lab, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    print(f"seed {seed}")
    source = random.Random(seed)
    lab.bus.create_group("all")
    handler = following(lab)
    for name in NAMES:
        lab.agent(name, handler, retry=ONCE_MORE)
        lab.bus.add_member("all", name)
    workflows = [lab.workflow() for _ in range(3)]
    for workflow in workflows:
        lab.send(workflow, "ping", plan(source, 3))
    deaths = dying(lab, monkeypatch, source)
    for _ in range(12):
        with suppress(Died):
            lab.publish()
        try:
            lab.work(2)
        except Died:
            lab.restart_consumer()
        with suppress(Died):
            lab.relay_turn(after=source.choice([0.0, 1.0, 30.0]))
    deaths(0.0)
    for _ in range(4):  # what is sent later may send later
        lab.settle(step=20.0)
        lab.relay_turn(after=2.0)
    lab.settle()
    for workflow in workflows:
        assert lab.all_processed(workflow)
        sound(workflow)


def dying(lab: Lab, monkeypatch: pytest.MonkeyPatch, source: random.Random) -> Callable[[float], None]:
    """Let the consumer die by chance: in handlers, before and after insertions, commits and acknowledgements."""
    chance = [0.06]

    def perhaps() -> None:
        if source.random() < chance[0]:
            raise Died

    def around(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def wrapped(*arguments: Any, **options: Any) -> Any:
            perhaps()
            result = original(*arguments, **options)
            perhaps()
            return result

        monkeypatch.setattr(owner, name, wrapped)

    around(execution, "run_handler")
    around(log, "close_batch")
    around(execution, "handle")
    around(lab.broker, "acknowledge")
    around(lab.broker, "publish_begin")

    def change(new: float) -> None:
        chance[0] = new

    return change


def test_a_failure_far_away_is_met_twice(lab: Lab) -> None:
    """Once onward, then by itself: it is not run into again at each step on the way to it."""

    def fails(message: Envelope, context: HandlerContext) -> None:
        if message.data == 0:
            raise ValueError("never")
        count_down(message, context)

    workflow = begin(lab, 20, fails)
    lab.consumer.step()
    assert handled(workflow) == 20, "all before it"
    lab.settle()
    assert lab.states(workflow) == ["processed"] * 20 + ["dead"]
    assert len(lab.ledger.attempts) == 21 + 20 + ONCE_MORE.max_attempts
    assert len(read()) == 20
