"""What the database cannot keep is refused at the door, the same at every entrance, in both buses and databases."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from enum import IntEnum, StrEnum
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from messaging.api import CommunicationBus, Envelope, HandlerContext, NexusError, RetryPolicy
from messaging.core.once import MemoryResults, call_once
from messaging.directory.pausing import pause_agent, resume_agent
from messaging.models import Agent, AgentState, DeadLetter, Workflow
from messaging.operators.dead_letters import DeadLetterFilter
from messaging.operators.teams import send_message, start_team
from messaging.recovery.deduplicator import MessageDeduplicator
from messaging.recovery.replay import discard, replay
from messaging.recovery.retention import prune_messages
from messaging.tasks import replay_dead_letters
from messaging.workflows.sequence_tracker import SequenceTracker
from tests.support.lab import Lab

THREE = RetryPolicy(max_attempts=3, base=0.1, cap=1.0)
NONSENSE: list[Any] = ["\x00", "\ud800", "x" * 301, "", 7, 2**70, None, b"bytes", object(), [], {}, float("nan"), True]

BUS: dict[str, Callable[[CommunicationBus, UUID, Any], object]] = {
    "start": lambda bus, _, value: bus.start_workflow(value),
    "start, limit": lambda bus, _, value: bus.start_workflow("w", max_messages=[value]),  # type: ignore[arg-type]
    "start, key": lambda bus, _, value: bus.start_workflow("w", deduplication_id=value or ""),
    "send, workflow": lambda bus, _, value: bus.send(value, "ann", "t", sender="web"),
    "send, recipient": lambda bus, workflow, value: bus.send(workflow, value, "t", sender="web"),
    "send, type": lambda bus, workflow, value: bus.send(workflow, "ann", value, sender="web"),
    "send, sender": lambda bus, workflow, value: bus.send(workflow, "ann", "t", sender=value),
    "send, key": lambda bus, workflow, value: bus.send(
        workflow, "ann", "t", sender="web", deduplication_id=value or ""
    ),
    "send, correlation": lambda bus, workflow, value: bus.send(
        workflow,
        "ann",
        "t",
        sender="web",
        correlation_id=value or "",  # type: ignore[arg-type]
    ),
    "send many": lambda bus, _, value: bus.send_many([value]),
    "send many, no list": lambda bus, _, value: bus.send_many(value or "x"),  # type: ignore[arg-type]
    "send to a group": lambda bus, workflow, value: bus.send_to_group(workflow, value, "t", sender="web"),
    "request": lambda bus, workflow, value: bus.request(
        workflow,
        "ann",
        "t",
        sender="web",
        timeout=value if not isinstance(value, int) or value is True else None,  # type: ignore[arg-type]
    ),
    "external agent": lambda bus, _, value: bus.register_agent(value),
    "agent": lambda bus, _, value: bus.register_agent(value, lambda message, context: None),
    "group": lambda bus, _, value: bus.create_group(value),
    "group's member": lambda bus, _, value: bus.create_group("crew-x", [value]),
    "member": lambda bus, _, value: bus.add_member("crew", value),
    "member's group": lambda bus, _, value: bus.add_member(value, "ann"),
    "member leaves": lambda bus, _, value: bus.remove_member("crew", value),
    "pause": lambda bus, _, value: bus.pause_workflow(value),
    "resume": lambda bus, _, value: bus.resume_workflow(value),
    "cancel": lambda bus, _, value: bus.cancel_workflow(value),
    "complete": lambda bus, _, value: bus.complete_workflow(value),
    "status": lambda bus, _, value: bus.workflow_status(value),
}


@pytest.fixture
def buses(lab: Lab) -> tuple[CommunicationBus, CommunicationBus]:
    lab.agent("ann")
    legacy = CommunicationBus()
    legacy.register_agent("web")
    legacy.register_agent("ann", lambda message, context: None)
    for bus in (lab.bus, legacy):
        bus.create_group("crew", ["ann"])
    return lab.bus, legacy


@pytest.mark.parametrize("entrance", BUS)
def test_both_buses_refuse_alike_in_words(buses: tuple[CommunicationBus, CommunicationBus], entrance: str) -> None:
    for value in NONSENSE:
        words = []
        for bus in buses:
            workflow = bus.start_workflow("w")
            with pytest.raises(NexusError) as refused:
                BUS[entrance](bus, workflow, value)
            words.append(f"{type(refused.value).__name__}: {refused.value}")
        assert re.sub(r"[0-9a-f-]{36}", "…", words[0]) == re.sub(r"[0-9a-f-]{36}", "…", words[1]), repr(value)


def test_a_workflows_id_may_be_text_and_a_reason_may_be_anything_a_person_writes(
    buses: tuple[CommunicationBus, CommunicationBus],
) -> None:
    for bus in buses:
        workflow: Any = str(bus.start_workflow("w"))
        bus.send(workflow, "ann", "t", sender="web")
        bus.pause_workflow(workflow, "because \x00 and \ud800")
        assert bus.workflow_status(workflow) == "paused"
        with pytest.raises(NexusError, match="reason"):
            bus.cancel_workflow(workflow, 5)  # type: ignore[arg-type]
    assert "\\x00" in Workflow.objects.get(status="paused").status_reason


OTHERS: dict[str, Callable[[Any], object]] = {
    "pause_agent": pause_agent,
    "resume_agent": resume_agent,
    "deduplicator": MessageDeduplicator,
    "deduplicator, ttl": lambda value: MessageDeduplicator("a", ttl=[value]),  # type: ignore[arg-type]
    "deduplicator, mark": lambda value: MessageDeduplicator("a").check_and_mark(value),
    "deduplicator, ask": lambda value: MessageDeduplicator("a").is_processed(value),
    "deduplicator, forget": lambda value: MessageDeduplicator("a").forget(value),
    "tracker": SequenceTracker,
    "replay": lambda value: replay(value if not isinstance(value, int) else -value),
    "discard": lambda value: discard(value if not isinstance(value, int) else -value),
    "filter, agent": lambda value: DeadLetterFilter(agent=value or [value]).ids(),  # type: ignore[arg-type]
    "filter, workflow": lambda value: DeadLetterFilter(workflow=value or "x").ids(),  # type: ignore[arg-type]
    "task": lambda value: replay_dead_letters(message_type=value or [value], workflow=""),
    "task, workflow": lambda value: replay_dead_letters(workflow=value or "x"),
    "start_team": lambda value: start_team(name=value, recipient="ann", type="t", data=None, sender="web"),
    "start_team, recipient": lambda value: start_team(name="n", recipient=value, type="t", data=None, sender="web"),
    "start_team, type": lambda value: start_team(name="n", recipient="ann", type=value, data=None, sender="web"),
    "start_team, sender": lambda value: start_team(name="n", recipient="ann", type="t", data=None, sender=value),
    "send_message": lambda value: send_message(value, recipient="ann", type="t", data=None, sender="web"),
}


@pytest.mark.parametrize("entrance", OTHERS)
def test_the_other_entrances_refuse_in_words(lab: Lab, entrance: str) -> None:
    lab.agent("ann")
    for value in NONSENSE:
        with pytest.raises(NexusError):
            OTHERS[entrance](value)
    assert connection.is_usable()


@pytest.mark.parametrize("age", [timedelta.max, timedelta(days=5_000), timedelta(0), timedelta.min])
def test_pruning_refuses_ages(lab: Lab, age: timedelta) -> None:
    with pytest.raises(NexusError):
        prune_messages(age)


@pytest.mark.parametrize(
    "arguments",
    [
        ("nexus_prune", "--days", "nan"),
        ("nexus_prune", "--days", "inf"),
        ("nexus_prune", "--days", "1e300"),
        ("nexus_prune", "--days", "30", "--limit", "-1"),
        ("nexus_prune", "--days", "30", "--limit", str(10**30)),
        ("nexus_workflows", "list", "--limit", str(10**30)),
        ("nexus_workflows", "list", "--limit", "0"),
        ("nexus_replay", "--all", "--yes", "--limit", str(10**30)),
        ("nexus_discard", "--agent", "\ud800", "--yes"),
        ("nexus_agents", "pause", "\ud800"),
    ],
)
def test_commands_refuse_in_words(lab: Lab, arguments: tuple[str, ...]) -> None:
    with pytest.raises((CommandError, SystemExit)):
        call_command(*arguments, stdout=StringIO(), stderr=StringIO())


def test_commands_name_what_they_do_not_find(lab: Lab) -> None:
    errors = StringIO()
    with pytest.raises(SystemExit):
        call_command("nexus_replay", str(10**30), "--yes", stdout=StringIO(), stderr=errors)
    assert "There is no dead letter" in errors.getvalue()


@pytest.mark.parametrize("field", ["name", "recipient", "type", "sender"])
def test_the_api_refuses_with_422(lab: Lab, field: str, admin_client: Client) -> None:
    lab.agent("ann")
    wrong: list[Any] = ["\x00", "x" * 301, "", 5, [], {}]
    for value in wrong:
        message: dict[str, Any] = {"recipient": "ann", "type": "t"}
        body = (
            {"name": value, "message": message}
            if field == "name"
            else {"name": "n", "message": {**message, field: value}}
        )
        response = admin_client.post("/api/workflows", json.dumps(body), content_type="application/json")
        assert response.status_code == (403 if (field, value) == ("sender", "\x00") else 422), (value, response.content)
        assert response.json()["detail"]


# --- values with one obvious JSON form ---


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Money(float):
    pass


class Names(dict[str, Any]):
    pass


PLAIN: list[tuple[Any, Any]] = [
    (mark_safe("<b>"), "<b>"),
    ({mark_safe("key"): [mark_safe("x"), {"y": mark_safe("z")}]}, {"key": ["x", {"y": "z"}]}),
    (Colour.RED, "red"),
    ([Level.HIGH, Money(1.5)], [3, 1.5]),
    (Names(a=mark_safe("v")), {"a": "v"}),
]


@pytest.mark.parametrize(("value", "plain"), PLAIN)
def test_texts_and_numbers_of_classes_of_their_own_are_plain_ones(
    buses: tuple[CommunicationBus, CommunicationBus], lab: Lab, value: Any, plain: Any
) -> None:
    seen: list[Any] = []

    def remember(message: Envelope, context: HandlerContext) -> None:
        seen.append(message.data)
        context.state["it"] = value

    lab.agent("bea", remember)
    buses[1].register_agent("bea", remember)
    for bus in buses:
        bus.send(bus.start_workflow("w"), "bea", "t", value, sender="web")
    lab.settle()
    assert seen == [plain, plain]
    assert str(type(seen[0])) == str(type(plain))
    assert json.loads(AgentState.objects.get(agent="bea").data) == {"it": plain}
    assert call_once(MemoryResults(), uuid4(), "k", lambda: value) == plain


class Evil:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("never compared")

    __hash__ = None  # type: ignore[assignment]


class EvilText(str):
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("never compared")

    __hash__ = str.__hash__


def test_what_cannot_be_compared_is_refused_with_its_place(buses: tuple[CommunicationBus, CommunicationBus]) -> None:
    looped: list[Any] = []
    looped.append(looped)
    for bus in buses:
        workflow = bus.start_workflow("w")
        for data in (
            {"a": [Evil()]},
            looped,
            {"a": gettext_lazy("x")},
            {"a": {1: 2}},
            {"b": float("inf")},
        ):
            with pytest.raises(NexusError, match="data"):
                bus.send(workflow, "ann", "t", data, sender="web")


# --- what an agent remembers ---


@pytest.mark.usefixtures("raw_content")
@pytest.mark.parametrize("leased", [False, True], ids=["transactional", "leased"])
@pytest.mark.parametrize("said", ["\x00", "a\x00b\x1a0 \\u0000 \x1a1", "\x1a"])
def test_a_conversation_outlives_control_characters(lab: Lab, said: str, leased: bool) -> None:
    heard: list[Any] = []

    def remembers(message: Envelope, context: HandlerContext) -> None:
        heard.append(context.state.get("said"))
        context.state["said"] = message.data
        context.state[f"key {said}"] = said

    lab.agent("a", remembers, leased=leased)
    workflow = lab.workflow()
    lab.send(workflow, "a", said)
    lab.send(workflow, "a", said)
    lab.settle()
    assert heard == [None, said]
    assert lab.all_processed(workflow)


def test_a_state_that_would_be_changed_is_refused(lab: Lab) -> None:
    def remembers(message: Envelope, context: HandlerContext) -> None:
        context.state["score"] = [float("nan"), None]

    lab.agent("a", remembers, retry=THREE)
    workflow = lab.workflow()
    lab.send(workflow, "a")
    lab.settle()
    assert "nan is no JSON number" in DeadLetter.objects.get().detail


@pytest.mark.parametrize("key", ["\x00", "\ud800", "", "x" * 201, 5, None])
def test_once_refuses_keys_that_cannot_be_kept(key: Any) -> None:
    with pytest.raises(NexusError, match="key"):
        call_once(MemoryResults(), uuid4(), key, lambda: 1)


# --- a swallowed error of the database ---


def swallow_integrity_error() -> None:
    with suppress(IntegrityError):
        Agent.objects.create(name="ann", description="twice")


def swallow_and_go_on() -> None:
    swallow_integrity_error()
    Agent.objects.count()


def swallow_sql() -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT no_such_column FROM nexus_agent")
    except Exception:  # noqa: BLE001 - what users do
        pass
    Agent.objects.count()


def swallow_in_its_own_block() -> None:
    with suppress(IntegrityError), transaction.atomic():
        Agent.objects.create(name="ann", description="twice")
    Agent.objects.count()


@pytest.mark.parametrize("swallow", [swallow_integrity_error, swallow_and_go_on, swallow_sql])
def test_a_swallowed_error_is_explained_and_blamed_on_its_handler(lab: Lab, swallow: Callable[[], None]) -> None:
    lab.agent("ann", lambda message, context: swallow(), retry=THREE)
    lab.agent("bea")
    workflow, other = lab.workflow(), lab.workflow()
    lab.send(other, "bea")
    lab.send(workflow, "ann")
    lab.settle()
    assert lab.all_processed(other)
    if swallow is swallow_sql and connection.vendor == "sqlite":
        assert lab.all_processed(workflow)  # SQLite's transaction goes on
        return
    letter = DeadLetter.objects.get()
    assert letter.workflow_id == workflow
    assert "caught" in letter.detail
    assert "transaction.atomic()" in letter.detail
    if swallow is not swallow_sql:
        assert "IntegrityError" in letter.detail


def test_an_error_in_a_block_of_its_own_may_be_swallowed(lab: Lab) -> None:
    lab.agent("ann", lambda message, context: swallow_in_its_own_block())
    workflow = lab.workflow()
    lab.send(workflow, "ann")
    lab.settle()
    assert lab.all_processed(workflow)
