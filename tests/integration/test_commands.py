"""Operators' commands and tasks: a dead letter that is put back is handled, whatever stands in its way."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery import current_app
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import OperationalError
from django.utils import timezone

from messaging import tasks
from messaging.api import HandlerContext, MessageDeduplicator, TerminalError
from messaging.core.outcome import Outcome
from messaging.models import AgentSetting, DeadLetter, Delivery, ProcessedMessage, Workflow
from messaging.operators.dead_letters import DeadLetterFilter
from tests.support import ledger
from tests.support.lab import Lab


def run(*arguments: object, **options: Any) -> tuple[int, str]:
    """Run a command; return its exit code and what it said."""
    output = StringIO()
    try:
        call_command(str(arguments[0]), *map(str, arguments[1:]), stdout=output, stderr=output, **options)
    except SystemExit as end:
        return int(end.code or 0), output.getvalue()
    return 0, output.getvalue()


@pytest.fixture
def broken(lab: Lab) -> Callable[..., int]:
    """Makes dead letters of an agent that is repaired afterwards."""

    def make(agent: str = "auditor") -> int:
        def refuse(message: object, context: HandlerContext) -> None:
            raise TerminalError("no such account")

        lab.agent(agent, refuse)
        before = DeadLetter.objects.count()
        lab.send(lab.workflow(), agent, {"account": 1})
        lab.publish()
        lab.work(2)
        assert DeadLetter.objects.count() == before + 1
        lab.agent(agent)
        return DeadLetter.objects.latest("pk").pk

    return make


def handled(lab: Lab) -> bool:
    lab.settle()
    return not Delivery.objects.exclude(state="processed").exists()


def test_a_processed_id_does_not_swallow_the_replay(lab: Lab, broken: Callable[..., int]) -> None:
    letter = DeadLetter.objects.get(pk=broken())
    assert letter.delivery is not None
    assert MessageDeduplicator("auditor").check_and_mark(letter.delivery.message_id)  # as by an earlier success
    assert run("nexus_replay", letter.pk) == (0, "Replayed: 1, failed: 0.\n")
    assert ledger.read() == []
    assert handled(lab)
    assert [entry.delivery for entry in ledger.read()] == [letter.delivery_id]
    assert ProcessedMessage.objects.count() == 1
    assert Workflow.objects.get().status == "running"
    letter.refresh_from_db()
    assert letter.status == "replayed"
    assert letter.resolved_by.endswith("(command line)")


def test_ids_that_cannot_be_replayed(lab: Lab, broken: Callable[..., int]) -> None:
    letter = broken()
    code, text = run("nexus_replay", letter, letter, 999)
    assert code == 1
    assert "There is no dead letter 999." in text
    assert "Replayed: 1, failed: 1." in text  # the same id twice is one
    code, text = run("nexus_replay", letter)
    assert code == 1
    assert f"Dead letter {letter} is replayed already." in text


def test_filters(lab: Lab, broken: Callable[..., int]) -> None:
    for agent in ("auditor", "auditor", "writer"):
        broken(agent)
    workflow = DeadLetter.objects.get(agent="writer").workflow_id
    for filters, count in (
        (["--agent", "auditor"], 2),
        (["--agent", "auditor", "--limit", 1], 1),
        (["--agent", "aud"], 0),
        (["--type", "test.message"], 3),
        (["--workflow", workflow], 1),
        (["--workflow", uuid4()], 0),
        (["--reason", "handler_error"], 3),
        (["--reason", "crash_loop"], 0),
        (["--all"], 3),
    ):
        assert run("nexus_replay", *filters, "--dry-run") == (0, f"Would be replayed: {count}.\n")
    assert DeadLetter.objects.filter(status="open").count() == 3
    assert run("nexus_replay", "--agent", "auditor", "--yes") == (0, "Replayed: 2, failed: 0.\n")
    assert run("nexus_discard", "--all", "--yes") == (0, "Discarded: 1, failed: 0.\n")
    assert run("nexus_discard", "--all", "--yes") == (0, "Discarded: 0, failed: 0.\n")
    lab.settle()
    assert sorted(Delivery.objects.values_list("agent", "state")) == [
        ("auditor", "processed"),
        ("auditor", "processed"),
        ("writer", "dead"),
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Say what to replay"),
        (["1", "--all"], "not both"),
        (["1", "--agent", "a"], "not both"),
        (["--all", "--limit", "0"], "above 0"),
        (["--reason", "bad luck"], "invalid choice"),
        (["--workflow", "17"], "invalid UUID"),
        (["first"], "invalid int"),
    ],
)
def test_arguments_that_make_no_sense(db: None, arguments: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        run("nexus_replay", *arguments)


def test_many_are_asked_about(lab: Lab, broken: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> None:
    broken()
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    with pytest.raises(CommandError, match="add --yes"):
        run("nexus_replay", "--all")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: "n")
    with pytest.raises(CommandError, match="Nothing was done"):
        run("nexus_replay", "--all")
    monkeypatch.setattr("builtins.input", lambda _: "y")
    assert run("nexus_replay", "--all") == (0, "Replayed: 1, failed: 0.\n")


def test_a_database_that_fails_gives_no_traceback(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OperationalError("the database system is shutting down")

    monkeypatch.setattr(DeadLetterFilter, "ids", fail)
    with pytest.raises(CommandError, match="run this again"):
        run("nexus_replay", "--all", "--yes")


# --- workflows ---


def test_workflows_are_listed_and_changed(lab: Lab) -> None:
    first, second = lab.workflow(), lab.workflow()
    code, text = run("nexus_workflows", "list")
    assert code == 0
    assert [line.split()[0] for line in text.splitlines()[1:]] == [str(second), str(first)]
    assert run("nexus_workflows", "pause", first, "--reason", "quarter end") == (0, f"{first} is paused.\n")
    assert "quarter end" in run("nexus_workflows", "list", "--status", "paused")[1]
    assert run("nexus_workflows", "resume", first, first) == (0, f"{first} is running.\n")
    assert run("nexus_workflows", "cancel", second) == (0, f"{second} is cancelled.\n")
    code, text = run("nexus_workflows", "pause", second, uuid4(), first)
    assert code == 1
    assert "cannot become paused" in text
    assert "There is no workflow" in text
    assert f"{first} is paused." in text


@pytest.mark.parametrize("arguments", [[], ["stop"], ["pause"], ["pause", "1"], ["list", "--limit", "0"]])
def test_workflow_arguments_that_make_no_sense(db: None, arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        run("nexus_workflows", *arguments)


# --- agents ---


def test_agents_are_listed_paused_and_resumed(lab: Lab) -> None:
    lab.agent("auditor")
    lab.agent("writer", leased=True)
    assert run("nexus_agents", "pause", "auditor", "--reason", "quarter end") == (0, "auditor is paused.\n")
    code, text = run("nexus_agents", "list", "--paused")
    assert code == 0
    assert text.startswith("auditor ")
    assert "(command line): quarter end" in text
    assert "writer" not in text
    rows = json.loads(run("nexus_agents", "list", "--json")[1])
    assert [(row["agent"], row["kind"], row["paused"]) for row in rows] == [
        ("auditor", "transactional", True),
        ("web", "program", False),
        ("writer", "leased", False),
    ]
    lab.send(lab.workflow(), "auditor")
    lab.publish()
    assert lab.work(2)[Outcome.HELD] == 1
    assert run("nexus_agents", "resume", "auditor") == (0, "auditor goes on; mailboxes that were waiting: 1.\n")
    assert handled(lab)


def test_agents_that_cannot_be_paused_are_explained_and_the_others_are_paused(lab: Lab) -> None:
    lab.agent("auditor")
    lab.bus.create_group("board", ["auditor"])
    names = ("auditr", "auditor", "web", "board", "No Name", "x\x00")
    code, text = run("nexus_agents", "pause", *names, "--json")
    assert code == 1
    results = {row["agent"]: row for row in json.loads(text)}
    assert [name for name in names if results[name]["ok"]] == ["auditor"]
    assert "Did you mean 'auditor'?" in results["auditr"]["detail"]
    assert "is a program that reads its messages itself" in results["web"]["detail"]
    assert "Name its members: auditor." in results["board"]["detail"]
    assert AgentSetting.objects.get().agent == "auditor"


def test_a_paused_agent_that_is_gone_can_be_resumed(lab: Lab) -> None:
    AgentSetting.objects.create(agent="gone", paused=True)
    assert run("nexus_agents", "list", "--paused")[1].split()[:3] == ["gone", "gone", "paused"]
    assert run("nexus_agents", "resume", "gone")[0] == 0
    assert run("nexus_agents", "resume", "gone")[0] == 1


@pytest.mark.parametrize("arguments", [[], ["stop"], ["pause"], ["resume"]])
def test_agent_arguments_that_make_no_sense(db: None, arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        run("nexus_agents", *arguments)


@pytest.mark.parametrize(
    "command", ["nexus_agents", "nexus_replay", "nexus_discard", "nexus_workflows", "nexus_health", "nexus_relay"]
)
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        call_command(command, "--help")
    assert end.value.code == 0
    assert len(capsys.readouterr().out) > 200


# --- tasks ---


@pytest.mark.parametrize("name", ["nexus.replay_dead_letters", "nexus.prune", "nexus.start_team"])
def test_a_worker_knows_the_tasks(name: str) -> None:
    current_app.loader.import_default_modules()
    assert name in current_app.tasks


def test_replaying_as_a_task(lab: Lab, broken: Callable[..., int]) -> None:
    for agent in ("auditor", "writer"):
        broken(agent)
    DeadLetter.objects.create(agent="auditor", reason="invalid_envelope", body=b"\xff")
    result = tasks.replay_dead_letters.apply(kwargs={"agent": "auditor", "user": "admin"}).get()
    assert (result["replayed"], result["failed"]) == (1, 1)
    assert "belongs to no delivery" in result["problems"][0]
    assert DeadLetter.objects.filter(status="replayed", resolved_by="admin").count() == 1
    workflow = str(DeadLetter.objects.get(agent="writer").workflow_id)
    assert tasks.replay_dead_letters.apply(kwargs={"workflow": workflow}).get()["replayed"] == 1


def test_pruning_as_a_task(db: None) -> None:
    ProcessedMessage.objects.create(message_id=uuid4(), consumer="a", expires_at=timezone.now())
    assert tasks.prune.apply().get() == {"processed_ids": 1}


def test_a_task_that_runs_twice_starts_one_team(lab: Lab) -> None:
    lab.agent("auditor")
    order = {"name": "Audit", "recipient": "auditor", "type": "audit.start", "data": 1}
    first, second = (tasks.start_team_task.apply(kwargs=order, task_id="7").get() for _ in range(2))
    assert first == second
    assert Workflow.objects.get().pk == UUID(first["workflow"])
    assert handled(lab)
