"""Rows that views and handlers share: the view wins, and the handler's message is not charged for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from uuid import UUID

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, OperationalError, connection, transaction

from messaging import log
from messaging.api import Envelope, HandlerContext, RetryPolicy, TerminalError
from messaging.models import DeadLetter, Delivery
from messaging.outcomes import fail
from messaging.outcomes.lost_locks import FREE_LOSSES
from messaging.sending.sending_due import send_due_timers
from messaging.testing.servers.waiting import wait_until
from tests.support.lab import Lab

THREE = RetryPolicy(max_attempts=3, base=0.1, cap=1.0)
VIEWS = 12


@pytest.fixture(autouse=True)
def only_postgres() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no locks of rows")


@pytest.fixture
def group() -> Iterator[Group]:
    """A row that views and handlers share."""
    row = Group.objects.create(name="shared")
    yield row
    row.delete()


def somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


def test_a_view_that_locks_and_sends_always_wins(lab: Lab) -> None:
    """As Django's documentation writes it; each view waits for its workflow before the handler wants the row."""
    groups = [Group.objects.create(name=f"row {number}") for number in range(VIEWS)]
    workflows = [lab.workflow() for _ in groups]
    handling = {str(row.pk): threading.Event() for row in groups}
    locked = threading.Barrier(VIEWS + 1)
    failed: list[DatabaseError] = []

    def save(message: Envelope, context: HandlerContext) -> None:
        row = Group.objects.get(pk=message.data["row"])
        if not handling[str(row.pk)].is_set():
            handling[str(row.pk)].set()
            wait_until(somebody_waits, 60, "the view to wait for its workflow", interval=0.01)
        row.name += "!"
        row.save()

    def view(number: int) -> None:
        try:
            with transaction.atomic():
                row = Group.objects.select_for_update().get(pk=groups[number].pk)
                locked.wait(20)
                handling[str(row.pk)].wait(60)
                row.name += "?"
                row.save()
                lab.send(workflows[number], "a", {"row": row.pk})
        except DatabaseError as error:
            failed.append(error)
        finally:
            connection.close()

    lab.agent("a", save, retry=THREE)
    for row, workflow in zip(groups, workflows, strict=True):
        lab.send(workflow, "a", {"row": row.pk})
    threads = [threading.Thread(target=view, args=(number,)) for number in range(VIEWS)]
    for thread in threads:
        thread.start()
    locked.wait(20)
    lab.until(lambda: not any(thread.is_alive() for thread in threads))
    lab.settle()
    assert failed == []
    assert [lab.ledger.handled(workflow, "a") for workflow in workflows] == [[1, 2]] * VIEWS
    assert {delivery.attempts for delivery in Delivery.objects.all()} == {0}
    assert {row.name[-3:] for row in Group.objects.filter(pk__in=[row.pk for row in groups])} == {"?!!"}
    Group.objects.all().delete()


def test_whoever_cancels_a_timer_and_sends_and_the_relay_do_not_wait_for_each_other(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay locks a workflow, then takes its timers; so does whoever cancels one."""
    lab.agent("a")
    workflow = lab.workflow()
    timer = lab.bus.send(workflow, "a", "test.message", "later", sender="web", delay=1)
    lab.clock.advance(2)
    locked = threading.Event()
    cancelled: list[bool | DatabaseError] = []
    take_timers = log.take_timers

    def take(timers: Sequence[UUID]) -> list[log.TimerRow]:
        locked.set()
        wait_until(somebody_waits, 60, "the view to wait for the workflow", interval=0.01)
        return take_timers(timers)

    def view() -> None:
        try:
            locked.wait(60)
            with transaction.atomic():
                was_there = lab.bus.cancel_timer(timer.id)
                lab.send(workflow, "a", "now")
            cancelled.append(was_there)
        except DatabaseError as error:
            cancelled.append(error)
        finally:
            connection.close()

    monkeypatch.setattr(log, "take_timers", take)
    thread = threading.Thread(target=view)
    thread.start()
    assert send_due_timers() == 1
    thread.join(60)
    assert cancelled == [False], "the relay was first"
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1, 2]


@pytest.mark.parametrize("leased", [False, True], ids=["transactional", "leased"])
@pytest.mark.parametrize("losses", [5, 1_000])
def test_a_lost_lock_is_charged_only_when_it_goes_on(lab: Lab, group: Group, losses: int, leased: bool) -> None:
    holds, may_go = threading.Event(), threading.Event()
    tries: list[int] = []

    def view() -> None:
        try:
            with transaction.atomic():
                list(Group.objects.select_for_update())
                holds.set()
                may_go.wait(60)
        finally:
            connection.close()

    def needs_the_row(message: Envelope, context: HandlerContext) -> None:
        tries.append(context.attempt)
        if len(tries) > losses:
            may_go.set()
            thread.join(20)
        with transaction.atomic():
            list(Group.objects.select_for_update(nowait=True))

    lab.agent("a", needs_the_row, retry=THREE, leased=leased)
    thread = threading.Thread(target=view)
    thread.start()
    try:
        holds.wait(20)
        workflow = lab.workflow()
        lab.send(workflow, "a")
        lab.settle()
    finally:
        may_go.set()
        thread.join(20)
    if losses == 5:
        assert lab.all_processed(workflow)
        assert tries == [1] * 6
    else:
        assert "could not obtain lock" in DeadLetter.objects.get().detail
        assert tries == [1] * (FREE_LOSSES + 1) + [2, 3]
        assert Delivery.objects.get().lock_losses == FREE_LOSSES


def lost_lock() -> OperationalError:
    """What Django raises for a deadlock."""
    try:
        with connection.cursor() as cursor, transaction.atomic():
            cursor.execute("DO $$ BEGIN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END $$")
    except OperationalError as error:
        return error
    raise AssertionError("it raises")


def test_an_attempt_that_was_counted_before_is_given_back(lab: Lab) -> None:
    lab.agent("a")
    lab.send(lab.workflow(), "a")
    (stored,) = lab.take_offered()
    Delivery.objects.update(attempts=1)
    fail(stored.id, lost_lock(), charged=True)
    delivery = Delivery.objects.get()
    assert (delivery.attempts, delivery.lock_losses) == (0, 1)
    assert "deadlock detected" in delivery.last_error


def test_what_a_handler_says_of_a_lost_lock_counts(lab: Lab) -> None:
    def give_up(message: Envelope, context: HandlerContext) -> None:
        raise TerminalError("the seat is being sold") from lost_lock()

    lab.agent("a", give_up)
    lab.send(lab.workflow(), "a")
    lab.settle()
    assert "the seat is being sold" in DeadLetter.objects.get().detail
    assert Delivery.objects.get().lock_losses == 0


def test_one_that_lost_is_tried_alone_from_then_on(lab: Lab) -> None:
    losses: list[None] = []

    def loses(message: Envelope, context: HandlerContext) -> None:
        if len(losses) < 3:
            losses.append(None)
            raise lost_lock()

    lab.agent("a", loses)
    lab.agent("innocent")
    workflow = lab.workflow()
    message = lab.send(workflow, "a")
    lab.publish()
    lab.work()
    lab.clock.advance(60)
    innocents = [lab.workflow() for _ in range(4)]
    for one in innocents[:2]:
        lab.send(one, "innocent")
    lab.publish(lab.take_offered())
    lab.relay.turn()
    for one in innocents[2:]:
        lab.send(one, "innocent")
    lab.publish()
    lab.work()
    assert len(losses) == 2
    assert [lab.ledger.tried(one, "innocent") for one in innocents] == [[1]] * 4
    lab.settle()
    assert lab.state_of(message) == "processed"
