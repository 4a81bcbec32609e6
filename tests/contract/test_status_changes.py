"""Workflows that end or pause while their messages are handled: every change, at every place, in both buses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from messaging.api import CommunicationBus, Envelope, HandlerContext, Outgoing
from messaging.core.outcome import Outcome
from messaging.gate.passage import Passage
from messaging.models import Delivery, Message, Workflow
from messaging.receiving.transactional import calling, execution
from messaging.workflows import life_cycle
from tests.support.lab import Lab

Change = Callable[[CommunicationBus, UUID], None]

CHANGES: dict[str, Change] = {
    "pause": lambda bus, workflow: bus.pause_workflow(workflow),
    "cancel": lambda bus, workflow: bus.cancel_workflow(workflow),
    "complete": lambda bus, workflow: bus.complete_workflow(workflow),
}
AFTERWARDS = {"pause": "held", "cancel": "cancelled", "complete": "cancelled"}


def burst(lab: Lab, workflow: UUID, count: int, agent: str = "a") -> None:
    lab.bus.send_many(
        [
            Outgoing(workflow_id=workflow, source="web", recipient=agent, type="test.message", data=number)
            for number in range(1, count + 1)
        ]
    )


@pytest.fixture(params=CHANGES)
def change(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def changing(lab: Lab, change: str, at: int) -> Callable[[Envelope, HandlerContext], None]:
    def handle(message: Envelope, context: HandlerContext) -> None:
        if message.data == at:
            CHANGES[change](lab.bus, context.workflow_id)
            context.send("web", "last.word")

    return handle


@pytest.mark.parametrize("leased", [False, True], ids=["transactional", "leased"])
def test_by_its_handler(lab: Lab, change: str, leased: bool) -> None:
    lab.agent("a", changing(lab, change, at=2), leased=leased)
    workflow = lab.workflow()
    burst(lab, workflow, 5)
    lab.publish()
    lab.work(8)
    after = AFTERWARDS[change]
    states = lab.states(workflow)
    assert states[:2] == ["processed", "processed"]
    assert set(states[2:5]) == {after}
    assert lab.ledger.tried(workflow, "a") == [1, 2]
    # What the handler says last is sent, whichever kind of handler it is: to a program, which reads the log.
    assert Message.objects.filter(workflow=workflow, type="last.word").count() == 1
    lab.settle()
    assert lab.ledger.tried(workflow, "a") == [1, 2]
    if change == "pause":
        lab.bus.resume_workflow(workflow)
        lab.settle()
        assert lab.ledger.tried(workflow, "a") == [1, 2, 3, 4, 5]
        assert set(lab.states(workflow)) == {"processed"}


def test_by_the_handler_of_a_held_successor(lab: Lab, change: str) -> None:
    lab.agent("a", changing(lab, change, at=2))
    workflow = lab.workflow()
    burst(lab, workflow, 4)
    first, *others = lab.take_offered()
    lab.publish(others)
    lab.work()
    assert lab.states(workflow) == ["pending", "held", "held", "held"]
    lab.publish([first])
    lab.work()
    assert lab.ledger.tried(workflow, "a") == [1, 2]
    assert set(lab.states(workflow)[2:4]) == {AFTERWARDS[change]}


@pytest.mark.parametrize("leased", [False, True], ids=["transactional", "leased"])
def test_from_outside_before_anything_is_handled(lab: Lab, change: str, leased: bool) -> None:
    lab.agent("a", leased=leased)
    workflow = lab.workflow()
    burst(lab, workflow, 3)
    lab.publish()
    CHANGES[change](lab.bus, workflow)
    lab.work(3)
    assert lab.ledger.tried(workflow, "a") == []
    assert set(lab.states(workflow)) == {AFTERWARDS[change]}


def test_a_change_harms_no_other_workflow_of_the_batch(lab: Lab, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.agent("a", changing(lab, change, at=7))
    workflows = [lab.workflow() for _ in range(20)]
    lab.bus.send_many(
        [
            Outgoing(workflow_id=workflow, source="web", recipient="a", type="test.message", data=number)
            for number, workflow in enumerate(workflows)
        ]
    )
    lab.publish()
    transactions = []
    handle = execution.handle

    def counted(batch: Sequence[Passage], **options: bool) -> execution.Handled:
        transactions.append(len(batch))
        return handle(batch, **options)

    monkeypatch.setattr(execution, "handle", counted)
    monkeypatch.setitem(calling._averages, "a", 0.0)
    assert lab.work()[Outcome.PROCESSED] == 20
    assert transactions == [20]
    assert [lab.ledger.tried(workflow, "a") for workflow in workflows] == [[1]] * 20


def test_a_handler_may_change_another_workflow_of_the_batch(lab: Lab) -> None:
    workflows = [lab.workflow() for _ in range(2)]

    def ends_the_other(message: Envelope, context: HandlerContext) -> None:
        if context.workflow_id == workflows[0] and message.data == 1:
            lab.bus.complete_workflow(workflows[1])

    lab.agent("a", ends_the_other)
    burst(lab, workflows[0], 2)
    burst(lab, workflows[1], 3)
    lab.publish()
    lab.work()
    assert lab.ledger.tried(workflows[0], "a") == [1, 2]
    # Either it came first, or it was cancelled: but nothing of it is handled after its end.
    handled = lab.ledger.tried(workflows[1], "a")
    assert handled in ([], [1, 2, 3])
    assert Workflow.objects.get(pk=workflows[1]).status == "completed"
    assert Delivery.objects.filter(workflow=workflows[1]).exclude(state__in=["processed", "cancelled"]).count() == 0


def test_a_pause_that_is_taken_back_stops_nothing(lab: Lab) -> None:
    def hesitates(message: Envelope, context: HandlerContext) -> None:
        lab.bus.pause_workflow(context.workflow_id)
        lab.bus.resume_workflow(context.workflow_id)

    lab.agent("a", hesitates)
    workflow = lab.workflow()
    burst(lab, workflow, 3)
    lab.publish()
    lab.settle()
    assert lab.ledger.tried(workflow, "a") == [1, 2, 3]


def test_both_buses_do_the_same(lab: Lab, change: str) -> None:
    heard: dict[str, list[int]] = {"durable": [], "in process": []}

    def cast(bus: CommunicationBus, which: str) -> Callable[[Envelope, HandlerContext], None]:
        def handle(message: Envelope, context: HandlerContext) -> None:
            heard[which].append(message.data)
            if message.data == 2:
                CHANGES[change](bus, context.workflow_id)

        return handle

    in_process = CommunicationBus()
    in_process.register_agent("writer")
    in_process.register_agent("reader", cast(in_process, "in process"))
    lab.agent("a", cast(lab.bus, "durable"))
    workflow, other = lab.workflow(), in_process.start_workflow("test")
    burst(lab, workflow, 4)
    in_process.send_many(
        [
            Outgoing(workflow_id=other, source="writer", recipient="reader", type="test.message", data=number)
            for number in range(1, 5)
        ]
    )
    lab.publish()
    lab.settle()
    assert heard["in process"] == heard["durable"] == [1, 2]


def test_a_deadline_that_races_a_completion_does_not_stop_the_relay(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    raced, late = lab.workflow(deadline=5), lab.workflow(deadline=6)
    lab.clock.advance(10)
    expire = life_cycle._expire

    def complete_first(workflow_id: UUID) -> bool:
        if workflow_id == raced:
            life_cycle.complete(raced)
        return expire(workflow_id)

    monkeypatch.setattr(life_cycle, "_expire", complete_first)
    assert life_cycle.expire_overdue(10) == 1
    assert Workflow.objects.get(pk=raced).status == "completed"
    assert Workflow.objects.get(pk=late).status == "expired"


def test_one_statement_more_tells_what_a_handler_changed(lab: Lab) -> None:
    """A batch in which nobody changes a status asks for none."""
    lab.agent("a")
    workflow = lab.workflow()
    burst(lab, workflow, 3)
    lab.publish()
    with CaptureQueriesContext(connection) as queries:
        lab.work()
    locks = [one["sql"] for one in queries if "FROM nexus_workflow" in one["sql"] and "max_messages" in one["sql"]]
    assert len(locks) <= 1
