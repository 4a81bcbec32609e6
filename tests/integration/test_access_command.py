"""``manage.py nexus_access``: answers in words and in JSON, errors that say what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from messaging.models import AccessChange, Agent
from messaging.security.access import store
from messaging.security.access.policy import Policy
from messaging.security.access.reading import read_file
from tests.integration.test_commands import run
from tests.support.lab import Lab
from tests.unit.access.test_policy_files import FULL

DRAFT = """
teams:
  red: [anna]
  blue: [carl]
roles:
  clerk: [anna]
grants:
- {name: orders, effect: allow, sender: "role:clerk", recipient: carl, type: "order.*"}
"""


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    file = tmp_path / "access.yaml"
    file.write_text(DRAFT)
    return file


def told(*arguments: object) -> Any:
    """What the command answers in JSON, without its exit code."""
    return json.loads(run("nexus_access", *arguments, "--json")[1])


@pytest.mark.django_db
def test_import_explain_export(draft: Path, tmp_path: Path) -> None:
    assert run("nexus_access", "explain", "anna", "carl", "note")[0] == 0
    code, text = run("nexus_access", "import", draft, "--dry-run")
    assert (code, text.splitlines()[-1]) == (0, "Would change: 4.")
    assert store.load_policy() == Policy()
    assert run("nexus_access", "import", draft)[1].splitlines()[-1] == "Changed: 4."
    assert AccessChange.objects.latest("pk").who.endswith("(command line)")
    assert told("import", draft) == []
    code, text = run("nexus_access", "explain", "anna", "carl", "note")
    assert code == 1
    assert "would be allowed by orders, but its type is order.*" in text
    found = told("explain", "anna", "carl", "order.placed", "--at", "2027-01-01", "--group", "board")
    assert (found["allowed"], found["sender_path"]) == (True, ["anna", "clerk"])
    copy = tmp_path / "copy.yaml"
    run("nexus_access", "export", copy)
    assert sorted(read_file(copy).teams, key=lambda team: team.name) == list(store.load_policy().teams)
    assert told("export") == json.loads(json.dumps(told("export")))


@pytest.mark.django_db
def test_a_policy_goes_round(tmp_path: Path) -> None:
    store.save_policy(FULL, "anna")
    file = tmp_path / "all.yaml"
    run("nexus_access", "export", file)
    before = store.load_policy()
    store.save_policy(Policy(), "anna")
    run("nexus_access", "import", file)
    assert store.load_policy() == before


def test_what_if_looks_at_the_log(lab: Lab, draft: Path) -> None:
    for name in ("anna", "carl"):
        lab.agent(name)
    workflow = lab.workflow()
    for type in ("order.placed", "note", "note"):
        lab.bus.send(workflow, "carl", type, {}, sender="anna")
    assert told("what-if", draft)["newly_refused"] == [
        {
            "sender": "anna",
            "recipient": "carl",
            "type": "note",
            "group": "",
            "because": "refused by the default 'across_teams'; the nearest is 'orders', but its type is order.*",
            "messages": 2,
        }
    ]
    assert run("nexus_access", "what-if", draft)[0] == 0
    code, text = run("nexus_access", "what-if", draft, "--since", "7d", "--fail")
    assert code == 1
    assert text.startswith("3 messages were looked at.\nNewly refused: 2\n")
    lab.bus.create_group("board", ["carl"])
    lab.bus.send_to_group(workflow, "board", "note", {}, sender="anna")
    assert {flow["group"] for flow in told("what-if", draft)["newly_refused"]} == {"", "board"}


@pytest.mark.django_db
def test_graph_and_check(draft: Path, tmp_path: Path) -> None:
    Agent.objects.create(name="anna")
    picture = tmp_path / "reach.svg"
    code, text = run("nexus_access", "graph", "--policy", draft, "--svg", picture)
    assert (code, text) == (0, "anna → carl: order.*\n")
    assert picture.read_text().startswith("<svg")
    assert told("graph", "--policy", draft, "--type", "note", "--agent", "anna", "--agent", "carl")["edges"] == []
    code, text = run("nexus_access", "check", draft)
    assert text.startswith("Sound: 1 roles, 2 teams, 1 grants.\nDoubtful: no agent is named 'carl'")
    assert told("check")["sound"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "absent.yaml"], "absent.yaml: cannot be read"),
        (["check", "{wrong}"], "wrong.yaml, line 3, grants[0].sender: no role is named 'clrk'; did you mean 'clerk'?"),
        (["import", "{wrong}"], "line 3"),
        (["what-if", "{wrong}"], "line 3"),
        (["graph", "--policy", "{wrong}"], "line 3"),
        (["explain", "Anna", "carl", "note"], "sender: expected 1 to 100"),
        (["explain", "anna", "carl", "a note"], "type: expected 1 to 200"),
        (["explain", "anna", "carl", "note", "--at", "noon"], "'noon' is no moment; write 2027"),
        (["what-if", "{draft}", "--since", "long"], "'long' is no period; write it like 30m"),
        (["what-if", "{draft}", "--limit", "0"], "expected a number from 1"),
        (["export", "/absent/x.yaml"], "/absent/x.yaml: cannot be written: No such file"),
        (["graph", "--svg", "/absent/x.svg"], "/absent/x.svg: cannot be written"),
        (["graph", *(word for n in range(61) for word in ("--agent", f"a{n}")), "--svg", "x.svg"], "at most 60"),
    ],
)
def test_errors_say_what_to_do(draft: Path, arguments: list[str], words: str) -> None:
    wrong = draft.with_name("wrong.yaml")
    wrong.write_text("roles: {clerk: [anna]}\ngrants:\n- {name: g, effect: allow, sender: 'role:clrk'}\n")
    with pytest.raises(CommandError) as caught:
        run("nexus_access", *(one.format(wrong=wrong, draft=draft) for one in arguments))
    assert words in str(caught.value)
    assert AccessChange.objects.count() == 0


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call_command("nexus_access", "--help")
    text = capsys.readouterr().out
    assert "  manage.py nexus_access what-if access.yaml --since 24h       what would it have changed" in text
