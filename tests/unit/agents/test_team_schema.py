"""Definitions: what is accepted, and that every error names its place."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents.api import DefinitionError, Limits, Member, TeamDefinition
from agents.chat.rules.definitions import OnTimeout, ResultPolicy
from agents.chat.rules.schema import read_team, read_text

YAML = """
name: travel
description: trips
members:
  - name: planner
    agent: travel-planner
    capabilities: [plans, budgets]
    handoffs: [bookers]
  - boss
  - name: bookers
    team:
      name: bookers
      members: [flights, hotels]
      selection: {kind: parallel, groups: [[flights, hotels]]}
      termination: {max_rounds: 1}
      result: all
selection: {kind: random, seed: 7}
termination:
  any:
    - max_messages: 30
    - all: [{text_mention: {text: OK, sources: [planner]}}, stop_message]
limits: {turn_timeout: 30, on_timeout: skip, on_failure: skip}
"""


def test_yaml_json_and_python_make_the_same_team() -> None:
    team = read_text(YAML)
    assert team.members[0] == Member(
        name="planner", agent="travel-planner", capabilities=("plans", "budgets"), handoffs=("bookers",)
    )
    assert team.limits == Limits(turn_timeout=30, on_timeout=OnTimeout.SKIP, on_failure="skip")
    assert team.members[2].team is not None
    assert team.members[2].team.result is ResultPolicy.ALL
    assert list(team.agents()) == ["travel-planner", "boss", "flights", "hotels"]
    assert read_text(json.dumps(team.to_data(), indent="\t")) == team
    assert read_team(team.to_data()) == team


WRONG: list[tuple[str, str]] = [
    ("name: t\nmembers: [a]\nmembrs: [b]", "line 3, membrs: unknown; did you mean 'members'?"),
    ("name: t", "line 1: 'members' is missing"),
    ("name: t\nmembers: a", "line 2, members: expected a list, got 'a'"),
    ("name: t\nmembers: []", "line 2, members: a team has 1 to 200 members, here are 0"),
    ("name: 5\nmembers: [a]", "line 1, name: expected text, got 5"),
    ("name: t\nmembers:\n- a\n- name: a", "line 4, members[1]: a second member named 'a'"),
    ("name: t\nmembers:\n- name: A b", "line 3, members[0].name: expected 1 to 100 of a-z"),
    ("name: t\nmembers: [user]", "line 2, members[0]: 'user' is reserved"),
    ("name: t\nmembers:\n- name: a\n  handoffs:\n  - b", "line 5, members[0].handoffs: no member is named 'b'"),
    ("name: t\nmembers:\n- name: a\n  human: yes please", "line 4, members[0].human: expected true or false"),
    ("name: t\nmembers:\n- {name: a, human: true, agent: b}", "line 3, members[0]: a human member has neither"),
    ("name: t\nmembers: [a]\nselection: round-robin", "line 3, selection: unknown; did you mean 'round_robin'?"),
    ("name: t\nmembers: [a]\nselection: {kind: model}", "line 3, selection: 'agent' is missing"),
    ("name: t\nmembers: [a]\nselection: {kind: random, seed: x}", "selection.seed: expected a whole number, got 'x'"),
    ("name: t\nmembers: [a]\nselection: {kind: parallel, groups: [[b]]}", "no member is named 'b'"),
    ("name: t\nmembers: [a]\nselection: {kind: function, function: nope}", "No chat function is named 'nope'"),
    ("name: t\nmembers: [a]\ntermination: {max_message: 3}", "unknown; did you mean 'max_messages'?"),
    (
        "name: t\nmembers: [a]\ntermination:\n  max_rounds: 0",
        "line 4, termination.max_rounds: expected a number above 0",
    ),
    ("name: t\nmembers: [a]\ntermination: {any: []}", "termination.any: empty"),
    ("name: t\nmembers: [a]\ntermination: {max_rounds: 1, stop_message: true}", "one condition is expected here"),
    ("name: t\nmembers: [a]\ntermination: {token_budget: {}}", "expected at least one of total, input, output"),
    ("name: t\nmembers: [a]\nlimits: {on_timeout: explode}", "expected one of retry, skip, end, got 'explode'"),
    ("name: t\nmembers: [a]\nlimits: {turn_timeout: -1}", "limits.turn_timeout: expected a number above 0, got -1"),
    ("name: t\nname: u\nmembers: [a]", "line 2: 'name' stands here twice"),
    ("name: t\nmembers: [*a]", "aliases (*name) are not allowed"),
    ("name: !!python/object:os.system t\nmembers: [a]", "values of the kind"),
    ("name: [t\nmembers: [a]", "no valid YAML or JSON"),
    ("\n", "empty; a team"),
]


@pytest.mark.parametrize(("text", "expected"), WRONG)
def test_an_error_names_the_line_and_what_is_expected(text: str, expected: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        read_text(text, "team.yaml")
    assert str(caught.value).startswith("team.yaml, line ") or caught.value.line is None
    assert expected in str(caught.value)


def test_an_error_in_python_data_names_the_path() -> None:
    with pytest.raises(DefinitionError, match=r"^members\[1\].handoffs: no member is named 'x'"):
        read_team({"name": "t", "members": ["a", {"name": "b", "handoffs": ["x"]}]})


def test_nesting_and_size_are_bounded() -> None:
    data: Any = {"name": "t", "members": ["a"]}
    for _ in range(5):
        data = {"name": "t", "members": [{"name": "inner", "team": data}]}
    with pytest.raises(DefinitionError, match="more than 5 levels"):
        read_team(data)
    with pytest.raises(DefinitionError, match="levels deep"):
        read_text("a: " + "[" * 100_000)
    with pytest.raises(DefinitionError, match="characters"):
        read_text("#" * 300_000)


def test_what_is_left_out_of_the_json_are_the_defaults() -> None:
    assert TeamDefinition(name="t", members=(Member(name="a"),)).to_data() == {
        "name": "t",
        "members": [{"name": "a"}],
        "selection": "round_robin",
    }
