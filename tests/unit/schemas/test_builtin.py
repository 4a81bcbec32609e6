"""Every type that Nexus itself sends has a schema, and what is really sent follows it."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import agents
import messaging
from agents.api import (
    ApprovalRequest,
    ExecutorAgent,
    Limits,
    MaxRounds,
    NexusGroupChatManager,
    Parallel,
    PlannerAgent,
    Question,
    Reply,
    Turn,
)
from agents.kinds.executor import Step
from messaging.api import CommunicationBus, Envelope
from messaging.core.envelope import parse_envelope
from messaging.security.schemas.loading import load_registry
from messaging.security.schemas.registry import SchemaRegistry
from messaging.security.schemas.validation import SchemaCandidate, SchemaChecker, UnknownTypes
from messaging.sending import memory
from tests.unit.agents.chats import echo, manager_of, members, run, silent, team

PACKAGES = [Path(package.__file__ or "").parent for package in (agents, messaging)]


@pytest.fixture(scope="module")
def schemas() -> SchemaRegistry:
    return load_registry((), stored=False)


# --- every type ---


def sent_types() -> Iterator[tuple[str, str]]:
    """The types that the code names where it sends: (place, type). A type that is a variable is a caller's own."""
    for folder in PACKAGES:
        for file in sorted(folder.rglob("*.py")):
            module = ".".join([folder.name, *file.relative_to(folder).with_suffix("").parts])
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                for argument in _type_arguments(node):
                    value = _value(argument, module)
                    if value:
                        yield f"{file.name}:{argument.lineno}", value


def _type_arguments(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in ("send", "tell", "request", "broadcast", "send_many"):
            yield from node.args[1:3]
        if name in ("send", "reply", "Outgoing"):
            yield from (keyword.value for keyword in node.keywords if keyword.arg == "type")
        if name == "append" and isinstance(node.func, ast.Attribute) and "sends" in ast.unparse(node.func):
            yield from (item.elts[1] for item in node.args if isinstance(item, ast.Tuple))


def _value(argument: ast.expr, module: str) -> str | None:
    if isinstance(argument, ast.Constant):
        return argument.value if isinstance(argument.value, str) else None
    if isinstance(argument, ast.Name) and argument.id.isupper():
        value = getattr(importlib.import_module(module), argument.id)
        return (
            value
            if isinstance(value, str) and value not in ("chat-manager", "chat-desk", "nexus-sagas", "nexus-two-phase")
            else None
        )
    return None


def test_every_type_that_the_code_sends_has_a_schema(schemas: SchemaRegistry) -> None:
    found = {type: place for place, type in sent_types()}
    assert found.keys() >= {"chat.turn", "chat.said", "chat.select", "chat.start", "chat.say", "chat.stop"}
    assert found.keys() >= {"chat.answer", "chat.wake", "chat.proceed", "user.answer", "plan.step", "nexus.resend"}
    assert {place: type for type, place in found.items() if not schemas.versions(type)} == {}


def test_every_schema_is_valid(schemas: SchemaRegistry) -> None:
    for item in schemas:
        assert schemas.require(*item.key).key == item.key


# --- what is really sent ---


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Envelope]:
    """What goes over in-process buses during the test."""
    kept: list[Envelope] = []

    def keep(body: bytes, *, max_bytes: int) -> Envelope:
        envelope = parse_envelope(body, max_bytes=max_bytes)
        kept.append(envelope)
        return envelope

    monkeypatch.setattr(memory, "parse_envelope", keep)
    return kept


def check(schemas: SchemaRegistry, sent: list[Envelope], *types: str) -> None:
    assert {envelope.type for envelope in sent} == set(types)
    checker = SchemaChecker(schemas, UnknownTypes.REFUSE)
    for verdict in checker.check([SchemaCandidate(envelope.type, None, envelope.data) for envelope in sent]):
        if verdict.violation is not None:
            raise verdict.violation


def test_a_chat_with_everything_in_it(schemas: SchemaRegistry, sent: list[Envelope]) -> None:
    def asks(turn: Turn) -> Reply:
        return Reply(content="so") if turn.prompt or turn.attempt > 1 else Reply(ask=Question("b", "why?"))

    definition = team("a", "b", "c", selection=Parallel(), termination=MaxRounds(3), limits=Limits(questions=1))
    manager = manager_of(a=asks, b=echo, c=lambda turn: Reply(content="ok", data={"x": [1]}, handoff="a"))
    run(manager, definition)
    check(schemas, sent, "chat.start", "chat.turn", "chat.said")


def test_a_chat_with_people(schemas: SchemaRegistry, sent: list[Envelope]) -> None:
    manager = manager_of(
        a=lambda turn: Reply(content="may I?", approval=ApprovalRequest("May a say this?", ("yes", "no")))
    )
    definition = team("a", members=members("a"), termination=MaxRounds(1))
    chat = manager.start_chat(definition, "go")
    manager.say(chat, "hello", speaker="guest")
    manager.stop(chat)
    (asked,) = manager.pending_approvals(chat)
    manager.answer_approval(asked.id, approved=False, text="no", by="Ada")
    for _ in range(3):
        for waiting in manager.pending_approvals(chat):
            manager.answer_approval(waiting.id, approved=True, text="well", by="Ada")
    check(schemas, sent, "chat.start", "chat.turn", "chat.said", "chat.say", "chat.answer", "chat.stop")


def test_a_chat_that_is_forked_and_one_whose_member_is_silent(schemas: SchemaRegistry, sent: list[Envelope]) -> None:
    manager: NexusGroupChatManager = manager_of(a=echo, b=silent)
    result = run(manager, team("a", "b", termination=MaxRounds(2)))
    manager.fork(result.chat, after=1, say="again")
    manager.fork(result.chat, after=1)
    check(schemas, sent, "chat.start", "chat.turn", "chat.said", "chat.wake", "chat.proceed")


def test_a_plan_and_its_steps(schemas: SchemaRegistry, sent: list[Envelope]) -> None:
    bus = CommunicationBus()
    steps = [Step("double", {"number": 2}), Step("fail"), Step("double")]
    planner = PlannerAgent("planner", lambda goal: steps, executor="executor")
    executor = ExecutorAgent("executor", {"double": lambda number: number * 2, "fail": lambda: 1 / 0})
    for spec in (planner.spec, executor.spec):
        bus.register_agent(spec.name, spec.handler, kind=spec.kind)
    bus.register_agent("desk")
    workflow = bus.start_workflow("plan")
    bus.send(workflow, "planner", "plan.goal", {"text": "double it"}, sender="desk")
    check(schemas, sent, "plan.goal", "plan.step", "plan.step.reply", "plan.goal.reply")


@pytest.mark.parametrize(
    ("type", "data"),
    [
        ("chat.start", {}),
        ("chat.stop", {}),
        ("chat.say", {"content": 1, "speaker": "x"}),
        ("chat.turn", {"turn": 1}),
        ("chat.select", {"turn": "1", "speaker": "a"}),
        ("chat.answer", {"key": "k"}),
        ("chat.wake", {"silent": "no"}),
        ("chat.proceed", []),
        ("user.answer", {"question": "x", "answer": 1}),
        ("plan.step", {"arguments": {}}),
        ("plan.step.reply", {}),
        ("plan.goal.reply", {"goal": "x"}),
        ("nexus.resend", {"agent": "a", "first": 0, "last": 1}),
    ],
)
def test_what_no_part_of_nexus_sends_is_refused(schemas: SchemaRegistry, type: str, data: Any) -> None:
    assert SchemaChecker(schemas).check([SchemaCandidate(type, None, data)])[0].violation is not None
