"""Policies in files: what cannot work is refused with the file, the line, the path and the fix."""

from __future__ import annotations

import doctest
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from uuid import UUID

import pytest

from messaging.core.errors import AccessPolicyError
from messaging.security.access import policy, reading
from messaging.security.access.policy import Defaults, Effect, Grant, Policy, PolicyTeam, Role
from messaging.security.access.reading import read_data, read_file, read_text
from messaging.security.access.validating import check_policy
from messaging.security.access.writing import policy_data, policy_yaml

FULL = Policy(
    roles=(
        Role(name="clerk", agents=("anna", "desk-*"), inherits=("domain.reader",), note="at the desk"),
        Role(name="domain.reader"),
    ),
    teams=(PolicyTeam(name="red", agents=("anna",)), PolicyTeam(name="empty")),
    grants=(
        Grant(
            name="all",
            sender="role:clerk",
            recipient="group:board",
            type="order.*",
            team="red",
            workflow=UUID(int=7),
            starts=datetime(2027, 1, 1, tzinfo=UTC),
            ends=datetime(2027, 1, 2, 12, 30, 1, 500, tzinfo=UTC),
            uses=3,
            note="ä: 'quoted' \n# no comment",
        ),
        Grant(name="none", effect=Effect.DENY),
    ),
    defaults=Defaults(inside_team=Effect.DENY, across_teams=Effect.ALLOW, without_team=Effect.DENY),
)


def test_what_is_written_is_read_again() -> None:
    for written in (FULL, Policy()):
        assert read_text(policy_yaml(written)) == written
        assert read_data(policy_data(written)) == written


@pytest.mark.parametrize("module", [policy, reading])
def test_examples_are_true(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert (result.failed, result.attempted > 0) == (0, True)


def test_a_list_is_a_role_with_members_only() -> None:
    assert read_text("roles: {clerk: [anna, 'desk-*']}").roles == (Role(name="clerk", agents=("anna", "desk-*")),)


GRANT = "grants:\n- {name: g, effect: allow,\n   %s}\n"
ROLES = "roles:\n  a: {inherits: [b]}\n  b:\n    inherits: [c]\n  c: {inherits: [a]}\n"
REFUSED = [
    # text, place, words of the problem, words of the fix
    (ROLES, "line 2, roles.a.inherits", "a → b → c → a", "take one of these steps out"),
    ("roles:\n  a: {inherits: [a]}", "line 2, roles.a.inherits", "a → a", "take one"),
    ("roles:\n  reader: []\n  b: {inherits: [raeder]}", "line 3, roles.b.inherits[0]", "no role", "'reader'"),
    ("roles:\n  reader: []\n" + GRANT % "sender: 'role:raeder'", "line 5, grants[0].sender", "no role", "'reader'"),
    (GRANT % "recipient: 'role:x'", "line 3, grants[0].recipient", "no role is named 'x'", "add it first"),
    (GRANT % "team: red", "line 3, grants[0].team", "no team is named 'red'", "add it first"),
    (GRANT % "sender: 'An*'", "line 3, grants[0].sender", "'An*' matches no name", "such as 'writer'"),
    (GRANT % "sender: 'a**'", "line 3, grants[0].sender", "two stars", "write one"),
    (GRANT % "sender: 'a*b*c*d*e*'", "line 3, grants[0].sender", "more than 4 stars", "several grants"),
    (GRANT % "sender: 'a*'\n   , type: 'a b'", "line 4, grants[0].type", "'a b' matches no name", "'order.*'"),
    (GRANT % "sender: 'group:x'", "line 3, grants[0].sender", "groups send nothing", "role:NAME"),
    (GRANT % "recipient: 'group:X'", "line 3, grants[0].recipient", "cannot name a group", "expected 1 to 100"),
    (GRANT % "uses: -1", "line 3, grants[0].uses", "-1", "leave 'uses' out"),
    (GRANT % "uses: many", "line 3, grants[0].uses", "'many'", "whole number"),
    (GRANT % "workflow: seven", "line 3, grants[0].workflow", "'seven'", "expected a UUID"),
    (GRANT % "starts: tomorrow", "line 3, grants[0].starts", "'tomorrow'", "2027-01-31T12:00:00Z"),
    (GRANT % "ends: 2027-01-01", "line 3, grants[0].ends", "no time zone", "2027-01-01T00:00:00Z"),
    (
        GRANT % "starts: 2027-01-02T00:00:00Z, ends: 2027-01-01T00:00:00Z",
        "line 3, grants[0].ends",
        "never hold",
        "swap",
    ),
    ("grants:\n- {name: g, effect: deny,\n   uses: 3}", "line 3, grants[0].uses", "cannot be used up", "'ends'"),
    ("grants:\n- {name: g, effect: alow}", "line 2, grants[0].effect", "'alow'", "'allow' nor 'deny'"),
    ("grants:\n- {name: g}", "line 2, grants[0]", "'effect' is missing", "add it"),
    ("grants:\n- {effect: deny}", "line 2, grants[0]", "'name' is missing", "add it"),
    (GRANT % "sendr: anna", "line 3, grants[0].sendr", "unknown", "did you mean 'sender'?"),
    (GRANT % "sender: 7", "line 3, grants[0].sender", "expected text, here is a number", "quotes"),
    ((GRANT % "note: a") + "- {name: g, effect: deny}", "line 4, grants[1].name", "'g' stands here twice", "another"),
    ("grants:\n- {name: G, effect: deny}", "line 2, grants[0].name", "'G' cannot be a name", "expected"),
    ("grants: {g: allow}", "line 1, grants", "expected a list", "'- '"),
    ("grnts: []", "line 1, grnts", "unknown", "'grants'"),
    ("roles: [a]", "line 1, roles", "mapping", "from names"),
    ("roles:\n  a: [no]", "line 2, roles.a[0]", "here is a truth value", "quotes"),
    ("roles:\n  a: [x, x]", "line 2, roles.a", "'x' stands here twice", "take one out"),
    ("roles:\n  a: []\n  a: []", "line 3, roles", "'a' stands here twice", "take one out"),
    ("roles:\n  d.a: {agents: ['X']}\n  d: {agents: ['Y']}", "line 2, roles.d.a.agents[0]", "'X'", "expected"),
    ("teams:\n  A: []", "line 2, teams.A", "'A' cannot be a name", "expected"),
    ("teams:\n  a: ['?']", "line 2, teams.a[0]", "'?' matches no name", "expected"),
    ("defaults: {inside_tem: deny}", "line 1, defaults.inside_tem", "unknown", "'inside_team'"),
    ("defaults: {inside_team: maybe}", "line 1, defaults.inside_team", "'maybe'", "'deny'"),
    ("version: 2", "line 1, version", "2 is not known", "write 1"),
    ("roles: &a {}\nteams: *a", "line 2", "aliases", "quotes"),
    ("roles:\n  a: [*]", "line 2", "", ""),
    ("roles: {a: [\n", "line 2", "no valid YAML", ""),
    ("grants: !!python/name:os.system []", "line 1, grants", "not allowed", ""),
    ("grants: " + "[" * 100, "line 1", "nested", "30 levels"),
    ("", "policy.yaml", "empty", ""),
    ("- a", "line 1", "expected a mapping", "here is a list"),
]


@pytest.mark.parametrize(("text", "place", "problem", "fix"), REFUSED)
def test_what_cannot_work_is_refused(text: str, place: str, problem: str, fix: str) -> None:
    with pytest.raises(AccessPolicyError) as caught:
        read_text(text, "policy.yaml")
    words = str(caught.value)
    assert words.startswith("policy.yaml")
    assert place in words
    assert problem in words
    assert fix in words


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for name, content, words in (
        ("latin.yaml", "grants: ä".encode("latin-1"), "not UTF-8, at byte 8"),
        ("long.yaml", b"#" * 4_000_001, "longer than"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(AccessPolicyError, match=words) as caught:
            read_file(tmp_path / name)
        assert name in str(caught.value)
    with pytest.raises(AccessPolicyError, match=r"absent\.yaml: cannot be read: No such file"):
        read_file(tmp_path / "absent.yaml")


def test_a_policy_in_code_is_refused_with_its_path() -> None:
    for wrong, place in (
        (Policy(grants=(Grant(name="g", starts=datetime(2027, 1, 1)),)), "grants[0].starts"),
        (Policy(grants=(Grant(name="g", sender="x" * 200),)), "grants[0].sender"),
        (Policy(roles=(Role(name="a"), Role(name="a"))), "roles.a"),
        (Policy(grants=tuple(Grant(name=f"g{number}") for number in range(5_001))), "grants"),
        (Policy(teams=(PolicyTeam(name="t", agents=tuple(f"a{number}" for number in range(5_001))),)), "teams.t"),
    ):
        with pytest.raises(AccessPolicyError) as caught:
            check_policy(wrong)
        assert caught.value.path == place
        assert len(str(caught.value)) < 500
