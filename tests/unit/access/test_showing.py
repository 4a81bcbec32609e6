"""What people are shown: explanations, the effect of a draft, who can reach whom, doubts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID
from xml.etree import ElementTree

import pytest

from messaging.core.errors import AccessPolicyError
from messaging.security.access import what_if as trying
from messaging.security.access.changes import compare
from messaging.security.access.compiling import DecisionTable
from messaging.security.access.decision import AccessRequest
from messaging.security.access.drawing import draw
from messaging.security.access.explaining import explain
from messaging.security.access.graph import named_agents, reach
from messaging.security.access.linting import lint
from messaging.security.access.policy import Defaults, Effect, Grant, Policy, PolicyTeam, Role
from messaging.security.access.what_if import what_if

NOW = datetime(2027, 1, 1, tzinfo=UTC)
POLICY = Policy(
    roles=(Role(name="clerk", agents=("anna",), inherits=("reader",)), Role(name="reader")),
    teams=(PolicyTeam(name="red", agents=("anna", "bert")), PolicyTeam(name="blue", agents=("carl",))),
    grants=(
        Grant(name="read", sender="role:reader", recipient="carl", type="read.*"),
        Grant(name="once", sender="bert", recipient="carl", uses=1),
        Grant(name="no", effect=Effect.DENY, sender="carl", recipient="anna", type="spam"),
        Grant(name="back", sender="carl", recipient="anna"),
        Grant(name="job", sender="carl", recipient="bert", workflow=UUID(int=1)),
    ),
)


def ask(sender: str, recipient: str, type: str = "note") -> AccessRequest:
    return AccessRequest(sender, recipient, type, NOW)


def test_an_explanation_in_words_and_as_data() -> None:
    table = DecisionTable(POLICY)
    found = explain(table, ask("anna", "carl", "read.all"))
    assert found.lines() == [
        "anna → carl: read.all: allowed by the grant 'read' (anna → clerk → reader)",
        "  anna: roles clerk, clerk → reader; teams red",
        "  carl: roles none; teams blue",
        "  allow read: decides",
    ]
    data = json.loads(json.dumps(found.data()))
    assert (data["allowed"], data["grant"]["name"], data["sender_path"]) == (True, "read", ["anna", "clerk", "reader"])
    found = explain(table, ask("anna", "carl"))
    assert "  would be allowed by read, but its type is read.*" in found.lines()
    assert found.lines()[-1].endswith("{name: anna-to-carl, effect: allow, sender: anna, recipient: carl, type: note}")
    found = explain(table, ask("carl", "anna", "spam"))
    assert [line for line in found.lines() if "applies" in line or "decides" in line] == [
        "  deny no: decides",
        "  allow back: applies too",
    ]


def test_what_a_draft_would_have_changed() -> None:
    draft = Policy(teams=POLICY.teams, grants=(Grant(name="few", sender="anna", recipient="carl", uses=1),))
    traffic = [ask("anna", "carl"), ask("anna", "carl"), ask("carl", "anna"), ask("carl", "anna"), ask("anna", "bert")]
    found = what_if(DecisionTable(POLICY), DecisionTable(draft), traffic)
    data = json.loads(json.dumps(found.data()))
    assert data["messages"] == 5
    assert [(one["sender"], one["messages"]) for one in data["newly_refused"]] == [("carl", 2)]
    assert [(one["sender"], one["messages"]) for one in data["newly_allowed"]] == [("anna", 1)], "it has one use"
    assert "Newly refused: 2" in found.lines()
    assert not found.harmless
    assert what_if(DecisionTable(draft), DecisionTable(draft), traffic[2:]).harmless


def test_differing_flows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "MAX_FLOWS", 3)
    closed = Policy(defaults=Defaults(without_team=Effect.DENY))
    traffic = (ask(f"a{number}", "b") for number in range(1_200))
    found = what_if(DecisionTable(Policy()), DecisionTable(closed), traffic)
    assert (found.messages, len(found.refused), found.unlisted) == (1_200, 3, 1_197)


def test_who_can_reach_whom() -> None:
    agents = named_agents(POLICY)
    assert agents == ["anna", "bert", "carl"]
    found = reach(POLICY, agents, NOW)
    assert {(edge.sender, edge.recipient): (edge.types, edge.conditional) for edge in found.edges} == {
        ("anna", "bert"): (("*",), False),
        ("bert", "anna"): (("*",), False),
        ("anna", "carl"): (("read.*",), False),
        ("bert", "carl"): (("*",), False),
        ("carl", "anna"): (("read.*", "other types"), False),
        ("carl", "bert"): (("*",), True),
    }
    assert {edge.recipient for edge in reach(POLICY, agents, NOW, type="spam").edges if edge.sender == "carl"} == {
        "bert"
    }
    assert json.loads(json.dumps(found.data()))["agents"][0] == {"name": "anna", "teams": ["red"]}
    with pytest.raises(AccessPolicyError, match="too large"):
        reach(POLICY, [str(number) for number in range(301)], NOW)


def test_the_picture_is_sound_and_bounded() -> None:
    found = reach(POLICY, [*named_agents(POLICY), "a" * 100], NOW)
    picture = ElementTree.fromstring(draw(found))
    titles = [title.text for title in picture.iter("{http://www.w3.org/2000/svg}title")]
    assert "carl → bert: * (at times)" in titles
    assert "anna: red" in titles
    ElementTree.fromstring(draw(reach(Policy(), [], NOW)))
    with pytest.raises(AccessPolicyError, match="at most 60"):
        draw(reach(Policy(), [str(number) for number in range(61)], NOW))


def test_doubts() -> None:
    policy = Policy(
        roles=(Role(name="nobody"), Role(name="idle", agents=("anna",))),
        teams=(PolicyTeam(name="empty"),),
        grants=(
            Grant(name="old", sender="role:nobody", recipient="carol", ends=NOW - timedelta(days=1)),
            Grant(name="spent", uses=0),
        ),
    )
    doubts = "\n".join(lint(policy, NOW, ["anna", "carl"]))
    for words in ("roles.nobody: nobody", "roles.idle: no grant", "teams.empty", "grants[0].ends", "grants[1].uses"):
        assert words in doubts
    assert "no agent is named 'carol' so far; did you mean 'carl'?" in doubts
    assert "without teams all is allowed" in lint(Policy(grants=(Grant(name="g"),)), NOW)[0]
    assert lint(POLICY, NOW) == []


def test_what_differs_between_two_policies() -> None:
    after = Policy(
        roles=POLICY.roles[1:],
        teams=POLICY.teams,
        grants=(Grant(name="read", effect=Effect.DENY), *reversed(POLICY.grants[1:])),
        defaults=Defaults(across_teams=Effect.ALLOW),
    )
    assert [str(one) for one in compare(POLICY, after)] == [
        "role clerk: removed",
        "grant read: changed",
        "defaults across_teams: changed",
        "order grants: changed",
    ]
    assert compare(POLICY, POLICY) == []
