"""Sagas, on both databases and in memory: all steps are done, or what was done is undone."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from messaging.api import (
    CommunicationBus,
    ConfigurationError,
    HandlerKind,
    LabelPolicy,
    Participant,
    RetryPolicy,
    Saga,
    Sagas,
    SagaView,
    StepFailed,
    StepRequest,
    TerminalError,
    UnknownSaga,
    registry,
    step,
)
from messaging.core.errors import SchemaViolation
from messaging.models import DeadLetter, JournalEntry, Message, SagaRun, StepRecord, Timer, Workflow
from messaging.transactions.hosting import COORDINATOR
from tests.support.lab import Lab

Handle = Callable[[StepRequest], Any]


def _succeed(request: StepRequest) -> Any:
    return {"id": request.step}


class Agency:
    """Participants that write down what they do, and fail when told to."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.behaviour: dict[str, Handle] = {}
        self.names: list[str] = []

    def participant(self, name: str, **options: Any) -> None:
        """Register one that does ``<name>.do`` and undoes ``<name>.undo``."""
        registry.remove(name)
        participant = Participant(name, **options).register()
        participant.does(f"{name}.do", f"{name}.do.formerly")(lambda request: self._call("do", request))
        participant.undoes(f"{name}.undo")(lambda request: self._call("undo", request))
        self.names.append(name)

    def _call(self, operation: str, request: StepRequest) -> Any:
        called = f"{operation} {request.step}"
        behave = self.behaviour.get(called, _succeed)
        result = behave(request)
        self.done.append(called)
        return result

    def fail(self, called: str, error: Exception, times: int = 10**6) -> None:
        """Have a call fail, some times."""
        left = [times]

        def behave(request: StepRequest) -> Any:
            if left[0] <= 0:
                return {"id": request.step}
            left[0] -= 1
            raise error

        self.behaviour[called] = behave


@pytest.fixture
def agency() -> Iterator[Agency]:
    made = Agency()
    for name in ("flights", "hotels", "payments"):
        made.participant(name, retry=RetryPolicy(max_attempts=2, base=0.01, cap=0.01))
    yield made
    for name in made.names:
        registry.remove(name)


def target(agent: str, operation: str = "do") -> tuple[str, str]:
    return (agent, f"{agent}.{operation}")


BOOKING = (
    Saga("booking")
    .step("flight", do=target("flights"), undo=target("flights", "undo"))
    .step("hotel", do=target("hotels"), undo=target("hotels", "undo"))
    .step("payment", do=target("payments"), undo=target("payments", "undo"))
)


class World:
    """Sagas of a durable bus that is stepped, or of an in-process one."""

    def __init__(self, lab: Lab, durable: bool) -> None:
        self.lab = lab
        self.durable = durable
        self.bus: CommunicationBus = lab.bus if durable else CommunicationBus()
        self.sagas = Sagas(self.bus)

    def run(self, saga: Saga, input: Any = None) -> SagaView:
        """Run a saga until it ended, or nothing happens any more."""
        return self.settle(self.sagas.start(saga, input))

    def settle(self, saga: UUID, *, rounds: int = 60) -> SagaView:
        for _ in range(rounds):
            if self.sagas.status(saga).ended or self.sagas.status(saga).status == "parked":
                break
            if self.durable:
                self.lab.publish()
                self.lab.work(2)
                self.lab.relay_turn(after=2)
            else:
                self.lab.clock.advance(2)
                self.bus.send_due_timers()
        return self.sagas.status(saga)


@pytest.fixture(params=["durable", "legacy"])
def world(request: pytest.FixtureRequest, lab: Lab, agency: Agency) -> World:
    return World(lab, request.param == "durable")


def settled(lab: Lab, saga: UUID, step_done: Callable[[], bool]) -> None:
    """Let things happen until a condition holds, with little time passing."""
    lab.until(step_done, step=0.05)


# --- in both modes ---


def test_all_steps_in_order(world: World, agency: Agency) -> None:
    view = world.run(BOOKING, {"nights": 2})
    assert (view.status, set(view.steps.values())) == ("completed", {"done"})
    assert agency.done == ["do flight", "do hotel", "do payment"]
    assert view.results["hotel"] == {"id": "hotel"}
    assert world.bus.workflow_status(view.id) == "completed"


def test_a_failure_undoes_what_was_done_in_reverse(world: World, agency: Agency) -> None:
    agency.fail("do payment", StepFailed("no money"))
    view = world.run(BOOKING)
    assert (view.status, view.reason) == ("compensated", "payment: no money")
    assert agency.done == ["do flight", "do hotel", "undo hotel", "undo flight"]
    assert view.steps == {"flight": "undone", "hotel": "undone", "payment": "failed"}
    assert world.bus.workflow_status(view.id) == "cancelled"


def test_what_a_step_brought_in_stops_at_a_step_that_does_not_accept_it(world: World, agency: Agency) -> None:
    registry.register(replace(registry.require("flights"), origin="web"))
    registry.register(replace(registry.require("payments"), accepts_labels=LabelPolicy()))
    if world.durable:
        world.run(BOOKING)
        assert "payments does not accept origin:web" in DeadLetter.objects.get().detail
    else:
        with pytest.raises(TerminalError, match="payments does not accept origin:web"):
            world.run(BOOKING)
    assert "do hotel" in agency.done
    assert "do payment" not in agency.done


def test_steps_see_the_input_and_the_results_before_and_undo_sees_its_own(world: World, agency: Agency) -> None:
    seen: list[Any] = []

    def book(request: StepRequest) -> Any:
        seen.append((request.input, request.results))
        return {"room": 7}

    agency.behaviour["do hotel"] = book
    agency.behaviour["undo hotel"] = lambda request: seen.append(request.result)
    agency.fail("do payment", StepFailed("no money"))
    world.run(BOOKING, {"nights": 2})
    assert seen == [({"nights": 2}, {"flight": {"id": "flight"}}), {"room": 7}]


def test_a_step_that_fails_is_tried_again(world: World, agency: Agency) -> None:
    agency.fail("do hotel", StepFailed("busy", retry=True), times=2)
    assert world.run(BOOKING).status == "completed"
    agency.fail("do hotel", StepFailed("busy", retry=True), times=3)
    assert world.run(BOOKING).status == "compensated"


def test_conditional_and_parallel_steps(world: World, agency: Agency) -> None:
    saga = (
        Saga("trip")
        .parallel(
            step("flight", do=target("flights"), undo=target("flights", "undo")),
            step("hotel", do=target("hotels"), undo=target("hotels", "undo"), when=("input.nights", ">", 0)),
        )
        .step("insurance", do=target("payments"), when=("flight.id", "==", "nowhere"))
        .step("payment", do=target("payments"))
    )
    view = world.run(saga, {"nights": 0})
    assert view.steps == {"flight": "done", "hotel": "left_out", "insurance": "left_out", "payment": "done"}
    agency.done.clear()
    view = world.run(saga, {"nights": 1})
    assert sorted(agency.done[:2]) == ["do flight", "do hotel"]
    agency.fail("do payment", StepFailed("no money"))
    agency.done.clear()
    view = world.run(saga, {"nights": 1})
    assert view.status == "compensated"
    assert sorted(agency.done[2:]) == ["undo flight", "undo hotel"]


def test_behind_the_pivot_there_is_no_way_back(world: World, agency: Agency) -> None:
    saga = (
        Saga("booking")
        .step("flight", do=target("flights"), undo=target("flights", "undo"))
        .step("payment", do=target("payments"), pivot=True)
        .step("hotel", do=target("hotels"), retries=1)
    )
    agency.fail("do hotel", StepFailed("full", retry=True), times=2)
    view = world.run(saga)
    assert (view.status, view.steps["hotel"]) == ("parked", "parked")
    world.sagas.cancel(view.id, "changed my mind", actor="ann")
    view = world.settle(view.id)
    assert view.status == "parked"
    world.sagas.retry(view.id, "hotel", "there is a room again", actor="ann")
    view = world.settle(view.id, rounds=5) if not world.durable else _until_ended(world, view.id)
    assert view.status == "completed"
    assert "undo flight" not in agency.done


def _until_ended(world: World, saga: UUID) -> SagaView:
    world.lab.until(lambda: world.sagas.status(saga).ended)
    return world.sagas.status(saga)


@pytest.mark.parametrize("action", ["retry", "skip", "force"])
def test_an_undo_that_cannot_be_done_parks_the_saga_for_an_operator(world: World, agency: Agency, action: str) -> None:
    saga = (
        Saga("booking")
        .step("flight", do=target("flights"), undo=target("flights", "undo"))
        .step("hotel", do=target("hotels"), undo=target("hotels", "undo"), undo_retries=1)
        .step("payment", do=target("payments"))
    )
    agency.fail("do payment", StepFailed("no money"))
    agency.fail("undo hotel", StepFailed("the hotel does not answer"), times=2)
    view = world.run(saga)
    assert (view.status, view.steps["hotel"]) == ("parked", "parked")
    assert view.errors["hotel"] == "the hotel does not answer"
    with pytest.raises(ConfigurationError, match="reason"):
        world.sagas.force(view.id, " ")
    with pytest.raises(ConfigurationError, match="flight, hotel, payment"):
        world.sagas.skip(view.id, "hotels", "x")
    if action == "force":
        world.sagas.force(view.id, "paid by hand", actor="ann")
    else:
        getattr(world.sagas, action)(view.id, "hotel", "called them", actor="ann")
    view = _until_ended(world, view.id) if world.durable else world.settle(view.id)
    expected = {
        "retry": ("compensated", "undone", "undone"),
        "skip": ("compensated", "skipped", "undone"),
        "force": ("forced", "parked", "done"),
    }
    assert (view.status, view.steps["hotel"], view.steps["flight"]) == expected[action]
    assert "ann" in {line.actor for line in world.sagas.journal(view.id)}


def test_the_journal_says_it_all(world: World, agency: Agency) -> None:
    agency.fail("do hotel", StepFailed("full"))
    view = world.run(BOOKING)
    journal = world.sagas.journal(view.id)
    assert [(line.event, line.step, line.before, line.after) for line in journal] == [
        ("begun", "", "", ""),
        ("started", "flight", "waiting", "doing"),
        ("done", "flight", "doing", "done"),
        ("started", "hotel", "waiting", "doing"),
        ("failed", "hotel", "doing", "failed"),
        ("compensating", "", "", ""),
        ("undo_started", "flight", "done", "undoing"),
        ("undone", "flight", "undoing", "undone"),
        ("compensated", "", "", ""),
    ]
    assert all(line.hash == line.digest() for line in journal)
    assert {line.actor for line in journal} == {"program", "flights", "hotels"}


def test_what_cannot_be_a_saga_is_refused(world: World) -> None:
    with pytest.raises(ConfigurationError, match="no steps"):
        world.sagas.start(Saga("empty"))
    with pytest.raises(ConfigurationError, match="nobody knows"):
        world.sagas.start(Saga("x").step("a", do=("nobody", "x.do")))
    with pytest.raises(ConfigurationError, match="twice: a"):
        Saga("x").step("a", do=target("flights")).step("a", do=target("flights"))
    with pytest.raises(ConfigurationError, match="participant"):
        Saga("x").step("a", do="flights")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="runs alone"):
        Saga("x").parallel(step("a", do=target("flights"), pivot=True), step("b", do=target("flights")))
    with pytest.raises(UnknownSaga):
        world.sagas.status(UUID(int=7))


# --- in the log ---


def start_and_stop_before(lab: Lab, agency: Agency, called: str) -> UUID:
    """Start a booking and run it until just before a participant gets a call."""
    sagas = Sagas(lab.bus)
    saga = sagas.start(BOOKING)
    name = called.partition(" ")[2]
    lab.until(lambda: sagas.status(saga).steps[name] == "doing", step=0.05)
    assert called not in agency.done
    return saga


def test_cancelled_before_its_step_the_step_never_runs(lab: Lab, agency: Agency) -> None:
    saga = start_and_stop_before(lab, agency, "do hotel")
    sagas = Sagas(lab.bus)
    waiting = lab.take_offered()  # the call to the hotel, on its way
    sagas.cancel(saga, "changed my mind", actor="ann")
    lab.publish()
    lab.work(2)
    assert sagas.status(saga).steps["hotel"] == "barred"
    lab.publish(waiting)
    lab.until(lambda: sagas.status(saga).ended)
    lab.settle()
    assert agency.done == ["do flight", "undo flight"]
    assert sagas.status(saga).status == "compensated"


def test_a_step_after_its_undo_is_refused(lab: Lab, agency: Agency) -> None:
    """The message to do it lay somewhere: a dead letter that is replayed, another participant's queue."""
    sagas = Sagas(lab.bus)
    agency.fail("do payment", StepFailed("no money"))
    lab.bus.register_agent("relic")
    saga = sagas.start(
        Saga("x")
        .step("flight", do=target("flights"), undo=target("hotels", "undo"))
        .step("payment", do=target("payments"))
    )
    lab.until(lambda: sagas.status(saga).ended)
    assert agency.done == ["do flight", "undo flight"]
    header = {"step": "flight", "operation": "do", "attempt": 9}
    Workflow.objects.filter(pk=saga).update(status="running")  # somebody opens it again by hand
    lab.bus.send(saga, "flights", "flights.do", {"saga": header, "input": None, "results": {}}, sender=COORDINATOR)
    lab.settle(step=0.1)
    assert agency.done == ["do flight", "undo flight"]
    last = sagas.journal(saga)[-1]
    assert (last.event, json.loads(last.detail)["outcome"]) == ("late_reply", "refused"), "and it is visible"
    assert sagas.status(saga).status == "compensated"


def test_undoing_what_was_never_done_bars_it(lab: Lab, agency: Agency) -> None:
    """The flight's call is late for another participant, which undoes before."""
    saga = lab.workflow()
    header = {"step": "flight", "operation": "undo", "attempt": 1}
    data = {"saga": header, "input": None, "results": {}}
    lab.bus.send(saga, "hotels", "hotels.undo", data, sender="web")
    lab.bus.send(saga, "flights", "flights.do", {**data, "saga": {**header, "operation": "do"}}, sender="web")
    lab.settle()
    assert agency.done == []
    assert StepRecord.objects.get().state == "barred"


def test_a_second_message_does_nothing_and_gives_the_same_answer(lab: Lab, agency: Agency) -> None:
    saga = lab.workflow()
    data = {"saga": {"step": "flight", "operation": "do", "attempt": 1}, "input": None, "results": {}}
    for _ in range(2):
        lab.bus.send(saga, "flights", "flights.do", data, sender="web")
    lab.settle()
    assert agency.done == ["do flight"]
    replies = Message.objects.filter(workflow=saga, subject="web")
    assert len({json.loads(bytes(reply.envelope))["data"]["result"]["id"] for reply in replies}) == 1
    assert replies.count() == 2


def test_a_step_without_an_answer_times_out_and_is_asked_again(lab: Lab, agency: Agency) -> None:
    sagas = Sagas(lab.bus)
    saga = start_and_stop_before(lab, agency, "do hotel")
    registry.remove("hotels")  # its workers are away
    lab.relay_turn(after=301)
    lab.publish()
    lab.work(2)
    agency.participant("hotels")
    lab.until(lambda: sagas.status(saga).ended)
    assert sagas.status(saga).status == "completed"
    assert agency.done.count("do hotel") == 1
    assert "timed_out" in {line.event for line in sagas.journal(saga)}
    assert not Timer.objects.exists()


def test_a_participant_that_never_answers_is_barred(lab: Lab, agency: Agency) -> None:
    sagas = Sagas(lab.bus)
    agency.fail("do hotel", ValueError("a defect"))
    saga = sagas.start(BOOKING)
    lab.until(lambda: sagas.status(saga).ended, step=2.0)
    view = sagas.status(saga)
    assert (view.status, agency.done) == ("compensated", ["do flight", "undo flight"])
    assert "a defect" in view.reason
    assert not DeadLetter.objects.exists(), "what a participant cannot do is the saga's affair"


def test_leased_participants_call_out(lab: Lab, agency: Agency) -> None:
    agency.participant("payments", kind=HandlerKind.LEASED, retry=RetryPolicy(max_attempts=1, base=0.01, cap=0.01))
    sagas = Sagas(lab.bus)
    saga = sagas.start(BOOKING)
    lab.until(lambda: sagas.status(saga).ended)
    assert sagas.status(saga).status == "completed"
    agency.fail("do payment", ValueError("in its middle"))
    agency.done.clear()
    saga = sagas.start(BOOKING)
    lab.until(lambda: sagas.status(saga).ended, step=2.0)
    assert sagas.status(saga).status == "compensated"
    assert agency.done == ["do flight", "do hotel", "undo payment", "undo hotel", "undo flight"]


def test_what_a_participant_did_for_a_saga_that_was_ended_meanwhile_is_visible(lab: Lab, agency: Agency) -> None:
    agency.participant("payments", kind=HandlerKind.LEASED)
    inside, go_on = threading.Event(), threading.Event()

    def behave(request: StepRequest) -> int:
        inside.set()
        go_on.wait(20)
        return 7

    agency.behaviour["do payment"] = behave
    sagas = Sagas(lab.bus)
    saga = sagas.start(BOOKING)
    turns = 0
    while not inside.wait(0.02) and turns < 200:  # no lab.work: it waits for what is leased
        turns += 1
        lab.publish()
        lab.consumer.step()
    sagas.force(saga, "by hand", actor="ann")
    while not sagas.status(saga).ended and turns < 400:
        turns += 1
        lab.publish()
        lab.consumer.step()
    assert sagas.status(saga).ended
    assert sagas.status(saga).late == {"payment": "doing"}
    go_on.set()
    lab.consumer.finish_leases()
    view = sagas.status(saga)
    assert (view.steps["payment"], view.late) == ("doing", {"payment": "done"})
    assert re.search(r"payment +doing +after its end: done", command("show", str(saga)))


def test_a_pivot_of_which_nobody_knows_whether_it_ran_is_parked(lab: Lab, agency: Agency) -> None:
    agency.participant("payments", kind=HandlerKind.LEASED, retry=RetryPolicy(max_attempts=1, base=0.01, cap=0.01))
    agency.fail("do payment", ValueError("in its middle"), times=1)
    sagas = Sagas(lab.bus)
    saga = sagas.start(
        Saga("x")
        .step("flight", do=target("flights"), undo=target("flights", "undo"))
        .step("payment", do=target("payments"), pivot=True, retries=0)
    )
    lab.until(lambda: sagas.status(saga).status == "parked")
    sagas.cancel(saga, "too late")
    lab.settle()
    assert sagas.status(saga).status == "parked"
    sagas.retry(saga, "payment", "it has an idempotency key")
    lab.until(lambda: sagas.status(saga).ended)
    assert sagas.status(saga).status == "completed"


def test_a_step_renamed_in_flight_ends_well(lab: Lab, agency: Agency) -> None:
    """The plan is stored with the run; the new participant knows the former type."""
    sagas = Sagas(lab.bus)
    before = Saga("booking").step("flight", do=target("flights")).step("room", do=("hotels", "hotels.do.formerly"))
    saga = sagas.start(before)
    lab.until(lambda: sagas.status(saga).steps["flight"] == "doing", step=0.05)
    after = Saga("booking", version=2).step("ticket", do=target("flights")).step("suite", do=target("hotels"))
    other = sagas.start(after)
    lab.until(lambda: sagas.status(saga).ended and sagas.status(other).ended)
    assert sagas.status(saga).steps == {"flight": "done", "room": "done"}
    assert sagas.status(other).steps == {"ticket": "done", "suite": "done"}
    assert (sagas.status(saga).version, sagas.status(other).version) == (1, 2)


def test_started_twice_with_one_deduplication_id_it_runs_once(lab: Lab, agency: Agency) -> None:
    sagas = Sagas(lab.bus)
    assert sagas.start(BOOKING, deduplication_id="x") == sagas.start(BOOKING, deduplication_id="x")
    lab.settle()
    assert agency.done.count("do flight") == 1


def test_a_forged_event_is_a_dead_letter(lab: Lab, agency: Agency) -> None:
    sagas = Sagas(lab.bus)
    saga = sagas.start(BOOKING)
    data = {"action": "force", "step": "", "reason": "x", "actor": "mallory"}
    lab.bus.send(saga, COORDINATOR, "saga.operate", data, sender="web")
    with pytest.raises(SchemaViolation):
        lab.bus.send(lab.workflow(), COORDINATOR, "saga.begin", sender="web")
    lab.until(lambda: sagas.status(saga).ended)
    assert sagas.status(saga).status == "completed"
    assert DeadLetter.objects.count() == 1


# --- the journal and the command ---


def command(*arguments: str) -> str:
    output = StringIO()
    call_command("nexus_transactions", *arguments, stdout=output, stderr=output)
    return output.getvalue()


@pytest.fixture
def finished(lab: Lab, agency: Agency) -> UUID:
    sagas = Sagas(lab.bus)
    saga = sagas.start(BOOKING)
    lab.until(lambda: sagas.status(saga).ended)
    return saga


def test_a_cut_or_altered_journal_is_detected(finished: UUID, tmp_path: Path) -> None:
    export = tmp_path / "journal.jsonl"
    command("export", str(export))
    assert "1 journal, nothing wrong" in command("verify")
    assert "1 journal, nothing wrong" in command("verify", "--against", str(export))
    entries = JournalEntry.objects.filter(workflow_id=finished).order_by("number")
    last, third = entries.last(), entries[2]
    assert last is not None

    JournalEntry.objects.filter(pk=third.pk).update(actor="somebody else")
    with pytest.raises(CommandError, match="entry 3 was altered"):
        command("verify")
    JournalEntry.objects.filter(pk=third.pk).update(actor=third.actor)
    assert "nothing wrong" in command("verify")

    last.delete()
    with pytest.raises(CommandError, match="the saga knows"):
        command("verify")
    before = entries.last()
    assert before is not None
    SagaRun.objects.filter(pk=finished).update(  # by somebody who knows how
        journal_count=before.number, journal_head=before.hash, status=before.status
    )
    assert "nothing wrong" in command("verify")
    with pytest.raises(CommandError, match="as exported"):
        command("verify", "--against", str(export))
    SagaRun.objects.all().delete()
    with pytest.raises(CommandError, match="no saga"):
        command("verify")


def test_the_command_shows_and_operates(finished: UUID, lab: Lab, agency: Agency) -> None:
    assert f"{finished}  completed" in command("list")
    assert command("list", "--status", "parked") == ""
    shown = command("show", str(finished))
    assert "flight" in shown
    assert "done" in shown
    with pytest.raises(CommandError, match="no saga"):
        command("show", str(UUID(int=1)))
    agency.fail("do payment", StepFailed("no money"))
    agency.fail("undo hotel", StepFailed("no answer"))
    sagas = Sagas(lab.bus)
    saga = sagas.start(BOOKING)
    lab.until(lambda: sagas.status(saga).status == "parked", step=61)
    command("skip", str(saga), "hotel", "--reason", "by phone")
    lab.until(lambda: sagas.status(saga).ended)
    assert sagas.status(saga).status == "compensated"
