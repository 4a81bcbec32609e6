"""Sagas that wait for people, signals and each other; sagas in sagas; sagas that get a new plan. In both modes."""

from __future__ import annotations

from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command

from messaging.api import ConfigurationError, Saga, SagaView, StepFailed, StepRequest, known_sagas, step, sub_saga
from messaging.models import SemanticLock, StepRecord, Timer
from tests.contract.test_sagas import Agency, World, agency, target, world
from tests.support.lab import Lab

__all__ = ["agency", "world"]  # fixtures


def undoable(name: str, agent: str) -> Saga:
    return Saga(name).step(name, do=target(agent), undo=target(agent, "undo"))


def turn(world: World, seconds: float = 2) -> None:
    if world.durable:
        world.lab.publish()
        world.lab.work(2)
        world.lab.relay_turn(after=seconds)
    else:
        world.lab.clock.advance(seconds)
        world.bus.send_due_timers()


def until(world: World, saga: UUID, *states: str) -> SagaView:
    for _ in range(30):
        view = world.sagas.status(saga)
        if view.status in states:
            return view
        turn(world)
    raise AssertionError(f"not {states}: {world.sagas.status(saga)}")


TRAVEL = undoable("flight", "flights").approval("manager").step("payment", do=target("payments"))


def test_a_person_approves(world: World, agency: Agency) -> None:
    saga = world.sagas.start(TRAVEL)
    view = until(world, saga, "waiting")
    assert view.awaiting == ["manager"]
    world.sagas.approve(saga, "flight", "that is no question")
    for _ in range(3):
        turn(world)
    assert world.sagas.status(saga).status == "waiting"
    world.sagas.approve(saga, "manager", "cheap enough", actor="ann")
    view = until(world, saga, "completed")
    assert view.results["manager"] == {"by": "ann", "reason": "cheap enough"}
    events = [(line.event, line.step) for line in world.sagas.journal(saga)]
    assert ("approve_refused", "flight") in events
    assert ("approved", "manager") in events
    assert not Timer.objects.exists()


def test_a_person_denies_and_it_is_undone(world: World, agency: Agency) -> None:
    saga = world.sagas.start(TRAVEL)
    until(world, saga, "waiting")
    world.sagas.deny(saga, "manager", "too dear", actor="ann")
    view = until(world, saga, "compensated")
    assert view.reason == "manager: denied by ann: too dear"
    assert agency.done == ["do flight", "undo flight"]


@pytest.mark.parametrize(("policy", "status"), [("fail", "compensated"), ("go_on", "completed"), ("park", "parked")])
def test_nobody_decides_in_time(world: World, agency: Agency, policy: Any, status: str) -> None:
    saga = world.sagas.start(undoable("flight", "flights").approval("manager", timeout=60, on_timeout=policy))
    until(world, saga, "waiting")
    turn(world, 61)
    assert until(world, saga, "compensated", "completed", "parked").status == status
    if policy == "park":
        world.sagas.retry(saga, "manager", "ask again")
        until(world, saga, "waiting")
        world.sagas.cancel(saga, "no more")
        until(world, saga, "compensated")


def test_a_signal_is_kept_until_its_wait_and_ends_one(world: World, agency: Agency) -> None:
    saga = world.sagas.start(
        undoable("flight", "flights").wait_for("paid").wait_for("again", signal="paid").wait_for("other")
    )
    world.sagas.signal(saga, "paid", {"amount": 5}, deduplication_id="1")
    world.sagas.signal(saga, "paid", {"amount": 5}, deduplication_id="1")
    view = until(world, saga, "waiting")
    assert (view.results["paid"], view.awaiting) == ({"amount": 5}, ["again"])
    world.sagas.signal(saga, "paid", 7)
    world.sagas.signal(saga, "other")
    view = until(world, saga, "completed")
    assert (view.results["again"], view.results["other"]) == (7, None)


def test_a_saga_in_a_saga_is_undone_with_it(world: World, agency: Agency) -> None:
    seen: list[tuple[Any, Any]] = []

    def book(request: StepRequest) -> Any:
        seen.append((request.input, request.results))
        return {"id": request.step}

    agency.behaviour["do stay/room"] = book
    stay = (
        Saga("stay")
        .step("hold", do=target("hotels"), undo=target("hotels", "undo"), when=("input.nights", ">", 1))
        .step("room", do=target("hotels"), undo=target("hotels", "undo"), when=("hold.id", "==", "stay/hold"))
    )
    trip = undoable("flight", "flights").saga("stay", stay, input="input.hotel").step("pay", do=target("payments"))
    view = world.run(trip, {"hotel": {"nights": 2}})
    assert (view.status, list(view.steps)) == ("completed", ["flight", "stay/hold", "stay/room", "pay"])
    assert seen == [({"nights": 2}, {"hold": {"id": "stay/hold"}})], "it sees what it would see alone"
    agency.done.clear()
    agency.fail("do pay", StepFailed("no money"))
    assert world.run(trip, {"hotel": {"nights": 2}}).status == "compensated"
    assert agency.done[-3:] == ["undo stay/room", "undo stay/hold", "undo flight"]
    assert world.run(trip, {"hotel": {"nights": 1}}).steps["stay/room"] == "left_out"
    agency.fail("do a/pay", StepFailed("no money"))
    both = Saga("both").parallel(sub_saga("a", trip), step("b", do=target("payments")), sub_saga("c", stay))
    assert world.run(both, {"nights": 2, "hotel": {"nights": 2}}).steps["a/stay/hold"] == "undone"


def test_behind_a_point_of_no_return(world: World, agency: Agency) -> None:
    agency.fail("do pay", StepFailed("no money"))
    saga = undoable("flight", "flights").point_of_no_return("decided").step("pay", do=target("payments"), retries=0)
    view = world.run(saga)
    assert (view.status, view.steps["pay"], agency.done) == ("parked", "parked", ["do flight"])


# --- locks ---


def seat(policy: Any, then: str = "payments") -> Saga:
    return (
        Saga("seat")
        .step(
            "flight",
            do=target("flights"),
            undo=target("flights", "undo"),
            locks=("seat:{input.seat}",),
            on_conflict=policy,
            timeout=30,
        )
        .approval("manager")
    )


def test_a_lock_refuses_another_saga_until_the_end(world: World, agency: Agency) -> None:
    first = world.sagas.start(seat("refuse"), {"seat": "1A"})
    until(world, first, "waiting")
    holder = world.sagas.locked_by("seat:1A")
    assert holder is not None
    assert (holder.saga, holder.state, world.sagas.is_locked("seat:1B")) == (first, "running", False)
    second = world.run(seat("refuse"), {"seat": "1A"})
    assert second.status == "compensated"
    assert f"seat:1A is held by the saga {first}" in second.reason
    assert (
        world.run(seat("refuse"), {}).reason
        == "flight: the lock 'seat:{input.seat}' needs a text or a number at input.seat"
    )
    agency.fail("undo flight", StepFailed("not now"), times=1)
    world.sagas.cancel(first, "no")
    states = set()
    for _ in range(20):
        holder = world.sagas.locked_by("seat:1A")
        states.add(holder.state if holder else "free")
        turn(world)
    assert states >= {"compensating", "free"} or not world.durable
    assert world.sagas.locked_by("seat:1A") is None
    assert not SemanticLock.objects.exists()


def test_a_saga_waits_for_a_lock_and_not_for_ever(world: World, agency: Agency) -> None:
    first = world.sagas.start(seat("wait"), {"seat": "1A"})
    until(world, first, "waiting")
    second = world.sagas.start(seat("wait"), {"seat": "1A"})
    third = world.sagas.start(seat("wait"), {"seat": "1A"})
    for _ in range(4):
        turn(world)
    assert world.sagas.status(second).steps["flight"] == "locked"
    world.sagas.cancel(third, "no patience")
    until(world, third, "compensated")
    world.sagas.approve(first, "manager", "yes")
    until(world, second, "waiting")
    fourth = world.sagas.start(seat("wait"), {"seat": "1A"})
    for _ in range(60):
        turn(world)
    view = world.sagas.status(fourth)
    assert view.status == "compensated"
    assert "is held by" in view.reason
    assert agency.done == ["do flight", "do flight"]
    assert not StepRecord.objects.filter(saga_id=fourth).exists()


def crossing(name: str, *seats: str) -> Saga:
    """Takes one seat after the other, and waits for each."""
    saga = Saga(name)
    for number, place in enumerate(seats):
        saga = saga.step(
            f"seat {number}",
            do=target("flights"),
            undo=target("flights", "undo"),
            locks=(place,),
            on_conflict="wait",
            timeout=3600,
        )
        saga = saga.wait_for(f"go {number}", signal="go") if number == 0 else saga
    return saga


@pytest.mark.parametrize("size", [2, 3])
def test_of_sagas_that_wait_for_each_other_the_youngest_gives_way(world: World, agency: Agency, size: int) -> None:
    started = [world.sagas.start(crossing(f"crossing {n}", f"seat:{n}", f"seat:{(n + 1) % size}")) for n in range(size)]
    for saga in started:
        until(world, saga, "waiting")
    for saga in started:
        world.sagas.signal(saga, "go")
    views = [until(world, saga, "completed", "compensated") for saga in started]
    assert [view.status for view in views] == ["completed"] * (size - 1) + ["compensated"]
    assert "The one that started last gives way" in views[-1].reason
    assert all(str(saga) in views[-1].reason for saga in started)
    assert "gave_way" in [line.event for line in world.sagas.journal(started[-1])]
    assert not SemanticLock.objects.exists()


# --- a new plan ---


def test_a_running_saga_gets_a_new_plan(world: World, agency: Agency) -> None:
    saga = world.sagas.start(undoable("flight", "flights").approval("manager").step("room", do=target("hotels")))
    until(world, saga, "waiting")
    start = undoable("flight", "flights")
    start.version = 2
    renamed = start.approval("manager").step("suite", do=target("hotels")).step("pay", do=target("payments"))
    other = Saga("flight", 3).step("plane", do=target("flights")).approval("manager")
    with pytest.raises(ConfigurationError, match="step 'flight' of stage 1 is done; the new plan does not have it"):
        world.sagas.migrate(saga, other, "x")
    undo = Saga("flight", 3).step("flight", do=target("flights")).approval("manager")
    assert world.sagas.obstacles(saga, undo) == ["step 'flight' is done; the new plan changes its undo"]
    assert world.sagas.obstacles(saga, Saga("flight", 3).step("flight", do=target("flights")))[0].startswith("it is in")
    world.sagas.migrate(saga, renamed, "suites only", actor="ann")
    world.sagas.approve(saga, "manager", "yes")
    view = until(world, saga, "completed")
    assert (view.version, list(view.steps)) == (2, ["flight", "manager", "suite", "pay"])
    assert set(view.steps.values()) == {"done"}
    assert ("migrated", "ann") in {(line.event, line.actor) for line in world.sagas.journal(saga)}
    assert world.sagas.obstacles(saga, other) == ["it is completed"]


def test_the_command_moves_what_may_be_moved(lab: Lab, agency: Agency) -> None:
    world = World(lab, durable=True)
    old = undoable("flight", "flights").approval("manager").step("room", do=target("hotels"))
    waiting, ended = world.sagas.start(old), world.sagas.start(old)
    until(world, waiting, "waiting")
    until(world, ended, "waiting")
    new = Saga("flight", 2).step("flight", do=target("flights"), undo=target("flights", "undo")).approval("manager")
    known_sagas.register(new)
    try:
        world.sagas.deny(ended, "manager", "no")
        until(world, ended, "compensated")

        def command(*arguments: str) -> str:
            output = StringIO()
            call_command("nexus_transactions", *arguments, stdout=output)
            return output.getvalue()

        assert "1 can be moved" in command("migrate", "--all", "flight", "--to", "2", "--dry-run")
        assert world.sagas.status(waiting).version == 1
        assert f"{ended} stays: it is compensated." in command("migrate", str(ended), "--to", "2")
        assert "1 told to move" in command("migrate", "--all", "flight", "--to", "2")
        command("approve", str(waiting), "manager", "--reason", "fine")
        assert until(world, waiting, "completed").version == 2
    finally:
        known_sagas.remove("flight", 2)
