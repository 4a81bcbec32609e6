"""Forks and exports: what a copy keeps, what it does anew, and that a recreated test passes."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from uuid import UUID, uuid4

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from agents.chat.rules.messages import MANAGER
from messaging.api import Envelope, HandlerContext, Labels, TerminalError
from messaging.core.errors import ForkRefused, UnknownWorkflow
from messaging.models import AgentState, Delivery, Entrance, LabelEndorsement, Mailbox, Message, OperatorAct, Workflow
from messaging.operators.acts import Actor
from messaging.operators.forking import fork
from messaging.operators.labels import endorse
from messaging.operators.recreating import export_test
from messaging.operators.verifying import verify_log
from messaging.security.labels.stored import labels_of_messages
from tests.integration.test_commands import run
from tests.support.lab import Lab

PLANNED = [("web", "planner"), ("planner", "clerk"), ("planner", "clerk"), ("clerk", "planner")]


def plan(message: Envelope, context: HandlerContext) -> None:
    """Two orders for each wish; counts answers."""
    if message.source == "clerk":
        context.state["answers"] = context.state.get("answers", 0) + 1
        return
    for part in ("a", "b"):
        context.send("clerk", "order", {"part": part})


def answer_first(message: Envelope, context: HandlerContext) -> None:
    if message.data == {"part": "a"}:
        context.send("planner", "done", message.data)


@pytest.fixture
def planned(lab: Lab) -> UUID:
    """#1 web → planner, #2 and #3 planner → clerk, #4 clerk → planner; all handled, its content from the web."""
    lab.agent("planner", plan)
    lab.agent("clerk", answer_first)
    workflow = lab.workflow(max_messages=50)
    lab.send(workflow, "planner", {"wish": "lamp"}, labels="origin:web private:customers")
    lab.settle()
    assert list(Message.objects.order_by("sequence").values_list("source", "subject")) == PLANNED
    return workflow


def labels_in(workflow: UUID) -> list[Labels]:
    ids = list(Message.objects.filter(workflow=workflow).order_by("sequence").values_list("pk", flat=True))
    found = labels_of_messages(ids)
    return [found.get(key, Labels()) for key in ids]


@pytest.mark.parametrize(("after", "copied", "waiting"), [(1, 1, 1), (2, 3, 2), (3, 3, 2), (4, 4, 1)])
def test_a_fork_stands_where_the_workflow_stood(lab: Lab, planned: UUID, after: int, copied: int, waiting: int) -> None:
    before = list(Delivery.objects.order_by("pk").values())
    made = fork(planned, after=after, actor=Actor("ada", Entrance.ADMIN), reason="another way")
    assert (made.after, made.waiting) == (copied, waiting)
    assert list(Delivery.objects.filter(workflow=planned).order_by("pk").values()) == before
    target = Workflow.objects.get(pk=made.workflow)
    assert (target.status, target.sequence, target.max_messages) == ("paused", copied, 50)
    assert target.status_reason == f"forked from {planned} after #{copied} by ada: another way"
    acts = OperatorAct.objects.order_by("pk").values_list("action", "key", "who", "reason")
    assert list(acts) == [
        ("fork", str(planned), "ada", "another way"),
        ("begin as a fork", str(made.workflow), "ada", "another way"),
    ]
    assert not list(verify_log()), "signatures, positions and counters of both are right"
    assert labels_in(made.workflow) == labels_in(planned)[:copied]
    lab.settle()
    assert Delivery.objects.filter(workflow=made.workflow, state="held").count() == waiting, "paused: nothing moves"
    lab.bus.resume_workflow(made.workflow)
    lab.settle()
    lab.relay_turn(after=100.0)
    lab.settle()
    said = Message.objects.filter(workflow=made.workflow).order_by("sequence")
    assert list(said.values_list("source", "subject")) == PLANNED
    assert lab.all_processed(made.workflow)
    assert not list(verify_log())
    assert labels_in(made.workflow) == labels_in(planned)
    states = dict(AgentState.objects.filter(workflow=made.workflow).values_list("agent", "data"))
    assert json.loads(states["planner"]) == {"answers": 1}


def test_labels_stay_lowered_and_agents_go_on_remembering(lab: Lab, planned: UUID) -> None:
    first = Message.objects.get(sequence=1)
    endorse(first.pk, "I read it", who="ada")
    made = fork(planned, after=3)
    copy = Message.objects.get(workflow=made.workflow, sequence=1)
    assert labels_in(made.workflow)[0] == Labels.parse("private:customers") == labels_in(planned)[0]
    assert LabelEndorsement.objects.get(message_id=copy.pk).who == "ada"
    boxes = {box.agent: box for box in Mailbox.objects.filter(workflow=made.workflow)}
    assert boxes["planner"].labels == Mailbox.objects.get(workflow=planned, agent="planner").labels
    assert "origin:web" in (boxes["planner"].labels or "")
    assert boxes["clerk"].labels is None, "it has handled nothing here"
    assert made.without_state == ("planner",)


def test_what_is_not_authentic_is_not_signed_anew(lab: Lab, planned: UUID) -> None:
    message = Message.objects.get(sequence=2)
    message.envelope = bytes(message.envelope).replace(b'"part":"a"', b'"part":"z"')
    message.save()
    with pytest.raises(ForkRefused, match=r"#2 .* not authentic"):
        fork(planned, after=4)
    assert Workflow.objects.count() == 1


def test_forks_that_cannot_be(lab: Lab, planned: UUID) -> None:
    with pytest.raises(UnknownWorkflow):
        fork(uuid4(), after=1)
    for number in (0, 5, 10**9):
        with pytest.raises(ForkRefused, match="numbered from 1 to 4"):
            fork(planned, after=number)
    Message.objects.filter(sequence=1).delete()
    with pytest.raises(ForkRefused, match="no message #1 any more"):
        fork(planned, after=2)
    lab.agent(MANAGER)
    chat = lab.workflow()
    lab.send(chat, MANAGER)
    with pytest.raises(ForkRefused, match="it is a chat"):
        fork(chat, after=1)
    assert Workflow.objects.count() == 2


def recreated(source: str) -> Callable[[None], None]:
    """The test function of an exported file."""
    names: dict[str, Callable[[None], None]] = {}
    exec(compile(source, "exported.py", "exec"), names)
    return next(value for name, value in names.items() if name.startswith("test_workflow_"))


def test_an_exported_test_passes_and_can_fail(lab: Lab, planned: UUID) -> None:
    lab.bus.create_group("board", ["clerk", "planner"])
    hostile = '"""\n{evil}\\ \x00'
    lab.send(planned, "board", {"text": hostile})
    lab.send(planned, "web", "told")
    lab.settle()
    source = export_test(Workflow.objects.get(pk=planned))
    test = recreated(source)
    test(None)
    copies = Workflow.objects.exclude(pk=planned)
    assert Message.objects.filter(workflow__in=copies).count() == Message.objects.filter(workflow=planned).count()

    lab.agent("clerk")  # answers nobody any more
    with pytest.raises(AssertionError):
        test(None)


def test_an_exported_test_knows_dead_letters(lab: Lab) -> None:
    def refuse(message: Envelope, context: HandlerContext) -> None:
        raise TerminalError("never")

    lab.agent("clerk", refuse)
    workflow = lab.workflow(failure_policy="skip")
    lab.send(workflow, "clerk", 1)
    lab.settle()
    test = recreated(export_test(Workflow.objects.get(pk=workflow)))
    test(None)
    lab.agent("clerk")
    with pytest.raises(AssertionError):
        test(None)


def test_the_command_shows_forks_and_exports(lab: Lab, planned: UUID) -> None:
    text = run("nexus_workflows", "show", planned)[1]
    assert "planner" in text
    assert '{"wish":"lamp"}' in text
    told = json.loads(run("nexus_workflows", "show", planned, "--from", 3, "--json")[1])
    assert [message["sequence"] for message in told["window"]] == [3, 4]
    assert told["window"][0]["labels"] == "origin:web private:customers"
    made = json.loads(run("nexus_workflows", "fork", planned, "--after", 1, "--run", "--json")[1])
    assert Workflow.objects.get(pk=made["workflow"]).status == "running"
    assert "No such workflow" in run("nexus_workflows", "list", "--name", "nobody", "--since", "2h")[1]
    exported = json.loads(run("nexus_workflows", "export", planned)[1])
    assert [message["envelope"]["source"] for message in exported["messages"]] == ["web", "planner", "planner", "clerk"]
    recreated(run("nexus_workflows", "export", planned, "--test")[1])(None)
    for wrong in (["show", str(uuid4())], ["list", "--since", "2x"], ["fork", str(planned), "--after", "9"]):
        with pytest.raises(CommandError):
            call_command("nexus_workflows", *wrong, stdout=StringIO())
