"""The two buses mean the same: one script, one transcript, the same refusals."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol
from uuid import UUID, uuid4

import pytest
from django.db import connections

from messaging.api import CommunicationBus, Envelope, HandlerContext, NexusError, Outgoing, ReplyTimeout
from tests.support.lab import Lab

Line = tuple[str, str, str, int, Any]


class Stage(Protocol):
    """A bus with a cast."""

    bus: CommunicationBus

    def cast(self, name: str, handler: Callable[[Envelope, HandlerContext], None]) -> None: ...
    def play(self) -> None: ...


class DurableStage:
    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.bus: CommunicationBus = lab.bus

    def cast(self, name: str, handler: Callable[[Envelope, HandlerContext], None]) -> None:
        self._lab.agent(name, handler)

    def play(self) -> None:
        self._lab.settle()


class InProcessStage:
    def __init__(self) -> None:
        self.bus = CommunicationBus()
        self.bus.register_agent("web")

    def cast(self, name: str, handler: Callable[[Envelope, HandlerContext], None]) -> None:
        self.bus.register_agent(name, handler)

    def play(self) -> None:
        """It plays while it is sent to."""


@pytest.fixture
def stages(lab: Lab) -> tuple[Stage, Stage]:
    return DurableStage(lab), InProcessStage()


class Script:
    """Records what every agent hears."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.lines: list[Line] = []

    def cast(self, name: str, then: Callable[[Envelope, HandlerContext], None] = lambda *_: None) -> None:
        def handler(message: Envelope, context: HandlerContext) -> None:
            self.lines.append((context.agent, message.source, message.type, message.sequence_number, message.data))
            then(message, context)

        self.stage.cast(name, handler)


def conversation(stage: Stage) -> list[Line]:
    """Requests, replies, groups, copies, an order that matters."""
    script = Script(stage)

    def lead(message: Envelope, context: HandlerContext) -> None:
        if message.type == "task":
            context.send("team", "question", {"about": message.data})
            context.send("clerk", "note", "asked", deduplication_id="note")
            context.send("clerk", "note", "asked again", deduplication_id="note")
        else:
            context.send("clerk", "note", [message.source, message.data])

    def member(message: Envelope, context: HandlerContext) -> None:
        context.reply(f"{context.agent} on {message.data['about']}")

    script.cast("lead", lead)
    script.cast("ann", member)
    script.cast("bob", member)
    script.cast("clerk")
    bus = stage.bus
    bus.create_group("team", ["ann", "bob", "lead"])
    workflow = bus.start_workflow("conversation")
    bus.send(workflow, "lead", "task", "ships", sender="web", deduplication_id="once")
    stage.play()
    bus.send(workflow, "lead", "task", "ships", sender="web", deduplication_id="once")
    bus.send_many(
        [Outgoing(workflow_id=workflow, source="web", recipient="clerk", type="note", data=n) for n in range(3)]
    )
    stage.play()
    return script.lines


def pausing(stage: Stage) -> list[Line]:
    """Paused messages wait and come in order; a cancelled workflow's do not come."""
    script = Script(stage)
    script.cast("ann")
    bus = stage.bus
    paused, cancelled = bus.start_workflow("paused"), bus.start_workflow("cancelled")
    bus.pause_workflow(paused)
    bus.pause_workflow(cancelled)
    for number in range(3):
        bus.send(paused, "ann", "note", number, sender="web")
        bus.send(cancelled, "ann", "note", number, sender="web")
    stage.play()
    bus.cancel_workflow(cancelled)
    bus.resume_workflow(paused)
    bus.send(paused, "ann", "note", "last", sender="web")
    stage.play()
    return script.lines


def stopping(stage: Stage) -> list[Line]:
    """An agent ends its workflow; what others were sent is not handled."""
    script = Script(stage)

    def end(message: Envelope, context: HandlerContext) -> None:
        context.send("web", "result", "done")
        stage.bus.complete_workflow(message.workflow_id)

    script.cast("ann", end)
    workflow = stage.bus.start_workflow("stopping")
    stage.bus.send_many(
        [Outgoing(workflow_id=workflow, source="web", recipient="ann", type="note", data=n) for n in range(3)]
    )
    stage.play()
    return script.lines


@pytest.mark.parametrize("play", [conversation, pausing, stopping])
def test_one_script_gives_one_transcript(stages: tuple[Stage, Stage], play: Callable[[Stage], list[Line]]) -> None:
    durable, in_process = stages
    expected = play(in_process)
    assert expected
    lines = play(durable)
    assert {line[0] for line in lines} == {line[0] for line in expected}
    for agent in {line[0] for line in expected}:
        assert heard_by(agent, lines) == heard_by(agent, expected)


def heard_by(agent: str, lines: list[Line]) -> list[str]:
    """An agent's lines in order; a handler that was rolled back and called again heard the same line twice."""
    return list(dict.fromkeys(repr(line) for line in lines if line[0] == agent))


def _closed(bus: CommunicationBus) -> UUID:
    workflow = bus.start_workflow("closed")
    bus.cancel_workflow(workflow)
    return workflow


def _named_twice(bus: CommunicationBus) -> None:
    bus.create_group("crew")
    bus.register_agent("crew")


REFUSALS: dict[str, Callable[[CommunicationBus, UUID], object]] = {
    "unknown recipient": lambda bus, workflow: bus.send(workflow, "nobody", "note", sender="web"),
    "unknown workflow": lambda bus, _: bus.send(uuid4(), "ann", "note", sender="web"),
    "closed workflow": lambda bus, _: bus.send(_closed(bus), "ann", "note", sender="web"),
    "malformed type": lambda bus, workflow: bus.send(workflow, "ann", "no type!", sender="web"),
    "malformed sender": lambda bus, workflow: bus.send(workflow, "ann", "note", sender="No Name"),
    "no JSON": lambda bus, workflow: bus.send(workflow, "ann", "note", object(), sender="web"),
    "not a number": lambda bus, workflow: bus.send(workflow, "ann", "note", float("nan"), sender="web"),
    "oversize": lambda bus, workflow: bus.send(workflow, "ann", "note", "x" * 300_000, sender="web"),
    "unknown group": lambda bus, _: bus.add_member("nobodies", "ann"),
    "unknown member": lambda bus, _: bus.create_group("team", ["nobody"]),
    "group named like an agent": lambda bus, _: bus.create_group("ann"),
    "resume a closed one": lambda bus, _: bus.resume_workflow(_closed(bus)),
    "pause a closed one": lambda bus, _: bus.pause_workflow(_closed(bus)),
    "complete a closed one": lambda bus, _: bus.complete_workflow(_closed(bus)),
    "status of an unknown one": lambda bus, _: bus.workflow_status(uuid4()),
    "pause an unknown one": lambda bus, _: bus.pause_workflow(uuid4()),
    "agent named like a group": lambda bus, _: _named_twice(bus),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_both_refuse_alike_and_nothing_is_sent(stages: tuple[Stage, Stage], what: str) -> None:
    raised: list[str] = []
    for stage in stages:
        script = Script(stage)
        script.cast("ann")
        workflow = stage.bus.start_workflow("refusals")
        with pytest.raises(NexusError) as caught:
            REFUSALS[what](stage.bus, workflow)
        raised.append(type(caught.value).__name__)
        stage.play()
        assert script.lines == []
        stage.bus.send(workflow, "ann", "note", "fine", sender="web")
        stage.play()
        assert [line[3] for line in script.lines] == [1], "the refused one took no number"
    assert raised[0] == raised[1]


def test_both_tell_how_a_workflow_stands(stages: tuple[Stage, Stage]) -> None:
    for stage in stages:
        bus, told = stage.bus, []
        workflow = bus.start_workflow("status")
        for change in (bus.pause_workflow, bus.resume_workflow, bus.complete_workflow):
            told.append(bus.workflow_status(workflow))
            change(workflow)
        assert [*told, bus.workflow_status(workflow)] == ["running", "paused", "running", "completed"]
        assert bus.workflow_status(_closed(bus)) == "cancelled"


def test_a_burst_is_taken_as_a_whole_or_not_at_all(stages: tuple[Stage, Stage]) -> None:
    for stage in stages:
        script = Script(stage)
        script.cast("ann")
        workflow = stage.bus.start_workflow("burst")
        good = Outgoing(workflow_id=workflow, source="web", recipient="ann", type="note", data=1)
        bad = Outgoing(workflow_id=workflow, source="web", recipient="nobody", type="note", data=2)
        with pytest.raises(NexusError):
            stage.bus.send_many([good, bad])
        stage.play()
        assert script.lines == []
        stage.bus.send(workflow, "ann", "note", 3, sender="web")
        stage.play()
        assert [(line[3], line[4]) for line in script.lines] == [(1, 3)]


def test_what_a_handler_sends_is_taken_as_a_whole_or_not_at_all() -> None:
    stage = InProcessStage()
    script = Script(stage)
    broken = [True]

    def half(message: Envelope, context: HandlerContext) -> None:
        context.send("bob", "note", 1)
        context.send("nobody" if broken[0] else "bob", "note", 2)

    script.cast("ann", half)
    script.cast("bob")
    workflow = stage.bus.start_workflow("half")
    with pytest.raises(NexusError):
        stage.bus.send(workflow, "ann", "note", sender="web")
    broken[0] = False
    stage.bus.send(workflow, "ann", "note", sender="web")
    assert [line[4] for line in script.lines if line[0] == "bob"] == [1, 2]


@pytest.fixture
def working(lab: Lab) -> Iterator[Lab]:
    """The lab with its consumer and relay at work in a thread."""
    stopping = threading.Event()

    def work() -> None:
        lab.new_consumer()
        while not stopping.is_set():
            lab.publish()
            lab.work()
        lab.consumer.die()
        connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    yield lab
    stopping.set()
    thread.join(30)


def echo(message: Envelope, context: HandlerContext) -> None:
    if message.type == "question":
        context.reply({"you": message.source, "said": message.data})


def test_a_request_gets_its_own_reply(working: Lab) -> None:
    working.agent("ann", echo)
    for bus in (working.bus, InProcessStage().bus):
        if bus is not working.bus:
            bus.register_agent("ann", echo)
        workflow = bus.start_workflow("requests")
        for number in range(3):
            reply = bus.request(workflow, "ann", "question", number, sender="web", timeout=20)
            assert (reply.source, reply.type, reply.data) == ("ann", "question.reply", {"you": "web", "said": number})


def test_a_request_that_nobody_answers_times_out_and_is_still_handled(lab: Lab) -> None:
    lab.agent("ann", echo)
    workflow = lab.workflow()
    with pytest.raises(ReplyTimeout):
        lab.bus.request(workflow, "ann", "question", 1, sender="web", timeout=0.05)
    lab.settle()
    assert lab.ledger.handled(workflow, "ann") == [1]
    in_process = InProcessStage().bus
    in_process.register_agent("ann", echo)
    with pytest.raises(ReplyTimeout):
        in_process.request(in_process.start_workflow("x"), "ann", "statement", 1, sender="web", timeout=0.05)
