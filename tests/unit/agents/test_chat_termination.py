"""Every condition, alone and combined."""

from __future__ import annotations

import pytest

from agents.api import (
    CostBudget,
    Entry,
    External,
    Functional,
    FunctionCall,
    Handoff,
    MaxMessages,
    MaxRounds,
    SourceMatch,
    StopMessage,
    TextMention,
    Timeout,
    TokenBudget,
    Usage,
    chat_function,
)
from agents.chat.rules.messages import Kind
from agents.chat.rules.schema import read_team
from agents.chat.rules.termination import Condition, View


def said(content: str = "x", speaker: str = "a", **fields: object) -> Entry:
    return Entry(number=2, speaker=speaker, content=content, **fields)  # type: ignore[arg-type]


@chat_function("test-quorum")
def quorum(view: View) -> str | bool:
    return "three spoke" if view.count >= 3 else False


CASES: list[tuple[Condition, View, View]] = [  # condition, not yet, met
    (MaxMessages(3), View(count=2), View(count=3)),
    (MaxRounds(2), View(rounds=1), View(rounds=2)),
    (TextMention("OK"), View(new=[said("no")]), View(new=[said("all OK")])),
    (TextMention("OK", ("b",)), View(new=[said("OK")]), View(new=[said("OK", "b")])),
    (TextMention("OK"), View(new=[said("say OK", kind=Kind.TASK)]), View(new=[said("OK", kind=Kind.HUMAN)])),
    (StopMessage(), View(new=[said()]), View(new=[said(stop=True)])),
    (Handoff("boss"), View(new=[said(handoff="b")]), View(new=[said(handoff="boss")])),
    (Timeout(5.0), View(elapsed=4.9), View(elapsed=5.0)),
    (TokenBudget(total=10), View(usage=Usage(4, 5)), View(usage=Usage(5, 5))),
    (TokenBudget(output=10), View(usage=Usage(99, 9)), View(usage=Usage(0, 10))),
    (CostBudget(1.0), View(usage=Usage(cost=0.99)), View(usage=Usage(cost=1.0))),
    (SourceMatch(("b", "c")), View(new=[said()]), View(new=[said(speaker="c")])),
    (FunctionCall("pay"), View(new=[said(calls=("look",))]), View(new=[said(calls=("look", "pay"))])),
    (External(), View(), View(stop_requested=True)),
    (Functional("test-quorum"), View(count=2), View(count=3)),
]


@pytest.mark.parametrize(("condition", "before", "after"), CASES)
def test_each_condition_is_met_at_its_limit_and_not_before(condition: Condition, before: View, after: View) -> None:
    assert condition.check(before, {}) is None
    assert condition.check(after, {})


def test_an_or_ends_with_its_first_condition_and_an_and_remembers_what_was_met() -> None:
    either = TextMention("OK") | MaxMessages(9)
    both = TextMention("OK") & MaxMessages(9)
    met: dict[str, str] = {}
    assert either.check(View(count=1, new=[said("OK")]), {})
    assert both.check(View(count=1, new=[said("OK")]), met) is None
    assert both.check(View(count=8), met) is None
    assert both.check(View(count=9), met) == "a said 'OK' and 9 messages"


def test_an_and_inside_an_or_inside_an_and_remembers_by_place() -> None:
    tree = (TextMention("A") & TextMention("B") | MaxRounds(9)) & SourceMatch(("z",))
    met: dict[str, str] = {}
    assert tree.check(View(new=[said("A")]), met) is None
    assert tree.check(View(new=[said("nothing", "z")]), met) is None
    assert tree.check(View(new=[said("B")]), met)


@pytest.mark.parametrize("condition", [case[0] for case in CASES])
def test_a_condition_survives_its_json(condition: Condition) -> None:
    tree = condition & (MaxMessages(99) | StopMessage())
    team = read_team({"name": "t", "members": ["a"], "termination": tree.to_data()})
    assert team.termination == tree


def test_the_clock_is_known_in_advance() -> None:
    assert (MaxMessages(3) | Timeout(7.0) & Timeout(9.0)).seconds() == 7.0
    assert MaxMessages(3).seconds() is None
