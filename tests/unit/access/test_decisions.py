"""What the rules say, one by one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import perf_counter
from uuid import UUID

import pytest

from messaging.core.errors import AccessPolicyError
from messaging.security.access import compiling
from messaging.security.access.compiling import DecisionTable
from messaging.security.access.deciding import UsesInMemory, decide_all
from messaging.security.access.decision import AccessRequest
from messaging.security.access.policy import Defaults, Effect, Grant, Policy, PolicyTeam, Role

NOON = datetime(2027, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ALLOW, DENY = Effect.ALLOW, Effect.DENY
TEAMS = (PolicyTeam(name="red", agents=("anna", "bert")), PolicyTeam(name="blue", agents=("carl",)))


def ask(sender: str = "anna", recipient: str = "carl", type: str = "note", **more: object) -> AccessRequest:
    return AccessRequest(**{"sender": sender, "recipient": recipient, "type": type, "at": NOON, **more})  # type: ignore[arg-type]  # few tests name others


def table(*grants: Grant, **parts: object) -> DecisionTable:
    return DecisionTable(Policy(**{"teams": TEAMS, "grants": grants, **parts}))  # type: ignore[arg-type]  # as above


def test_without_a_policy_everything_is_allowed() -> None:
    decision = DecisionTable(Policy()).decide(ask())
    assert (decision.allowed, decision.default) == (True, "without_team")


def test_the_defaults_depend_on_teams() -> None:
    asked = {
        "inside_team": ask("anna", "bert"),
        "across_teams": ask("anna", "carl"),
        "without_team": ask("anna", "web"),
    }
    assert [table().decide(one).allowed for one in asked.values()] == [True, False, True]
    other = table(defaults=Defaults(inside_team=DENY, across_teams=ALLOW, without_team=DENY))
    assert [other.decide(one).allowed for one in asked.values()] == [False, True, False]
    assert [other.decide(one).default for one in asked.values()] == list(asked)


def test_an_agent_of_two_teams_is_inside_both() -> None:
    both = (*TEAMS, PolicyTeam(name="green", agents=("anna", "carl")))
    assert table(teams=both).decide(ask()).allowed


def test_deny_wins_whatever_stands_first() -> None:
    yes, no = Grant(name="yes"), Grant(name="no", effect=DENY)
    for grants in ((yes, no), (no, yes)):
        decision = table(*grants).decide(ask())
        assert (decision.allowed, decision.grant) == (False, no)
        assert decision.effect is DENY


def test_the_decision_names_the_way_to_the_role() -> None:
    roles = (
        Role(name="clerk", agents=("an*",), inherits=("reader", "writer")),
        Role(name="reader", inherits=("guest",)),
        Role(name="writer"),
        Role(name="guest"),
        Role(name="ledger", agents=("carl",)),
    )
    decision = table(Grant(name="read", sender="role:guest", recipient="role:ledger"), roles=roles).decide(ask())
    assert decision.sender_path == ("anna", "clerk", "reader", "guest")
    assert decision.recipient_path == ("carl", "ledger")
    assert str(decision) == "allowed by the grant 'read' (anna → clerk → reader → guest; carl → ledger)"


def test_a_refusal_by_default_names_the_nearest_grant() -> None:
    far = Grant(name="far", sender="x", recipient="y", type="z")
    near = Grant(name="near", sender="anna", recipient="carl", type="order.*")
    decision = table(far, near).decide(ask())
    assert decision.missing is not None
    assert (decision.missing.grant, decision.missing.unmet) == (near, ("its type is order.*",))
    assert str(decision) == "refused by the default 'across_teams'; the nearest is 'near', but its type is order.*"
    assert str(table().decide(ask())).endswith("no grant allows anything")


@pytest.mark.parametrize(
    ("grant", "unmet"),
    [
        (Grant(name="g", sender="x"), "its sender is x"),
        (Grant(name="g", sender="role:r"), "its sender is role:r"),
        (Grant(name="g", recipient="x"), "its recipient is x"),
        (Grant(name="g", recipient="group:x"), "its recipient is group:x"),
        (Grant(name="g", type="x"), "its type is x"),
        (Grant(name="g", team="red"), "they are not both in the team red"),
        (Grant(name="g", workflow=UUID(int=1)), "it is for the workflow"),
        (Grant(name="g", starts=NOON + HOUR), "it starts at 2027-01-01T13:00:00+00:00"),
        (Grant(name="g", ends=NOON), "it ended at 2027-01-01T12:00:00+00:00"),
        (Grant(name="g", uses=0), "it is used up"),
    ],
)
def test_each_condition_must_hold(grant: Grant, unmet: str) -> None:
    decision = table(grant, roles=(Role(name="r"),)).decide(ask())
    assert not decision.allowed
    assert decision.missing is not None
    assert len(decision.missing.unmet) == 1
    assert decision.missing.unmet[0].startswith(unmet)


def test_a_window_is_open_at_its_start_and_closed_at_its_end() -> None:
    window = table(Grant(name="g", starts=NOON, ends=NOON + HOUR))
    moments = (NOON - HOUR, NOON, NOON + HOUR / 2, NOON + HOUR)
    assert [window.decide(ask(at=moment)).allowed for moment in moments] == [False, True, True, False]


def test_a_deny_for_a_time_ends_too() -> None:
    window = table(Grant(name="yes"), Grant(name="no", effect=DENY, ends=NOON))
    assert [window.decide(ask(at=at)).allowed for at in (NOON - HOUR, NOON)] == [False, True]


def test_a_group_is_decided_for_each_member() -> None:
    rules = table(
        Grant(name="board", recipient="group:board"),
        Grant(name="not-dora", effect=DENY, recipient="dora"),
    )
    assert rules.decide(ask("anna", "carl", group="board")).allowed
    assert not rules.decide(ask("anna", "dora", group="board")).allowed
    assert not rules.decide(ask("anna", "carl")).allowed, "the grant is for what is addressed to the group"
    assert not rules.decide(ask("anna", "carl", group="other")).allowed


def test_patterns_are_no_regular_expressions() -> None:
    rules = table(Grant(name="g", sender="an.a", type="order.*/v1"))
    assert not rules.decide(ask("anna", type="order.x/v1")).allowed
    rules = table(Grant(name="g", sender="a*a", type="order.*/v1"))
    assert rules.decide(ask("anna", type="order.x/v1")).allowed
    assert not rules.decide(ask("anna", type="orderxx/v1")).allowed
    assert not rules.decide(ask("anna", type="order.x/v1x")).allowed


def test_what_is_used_up_ends_and_what_another_grant_allows_is_not_counted() -> None:
    few, always = Grant(name="few", uses=2), Grant(name="always", sender="anna", type="order")
    rules, uses = table(few, always), UsesInMemory()
    asked = [ask(), ask(type="order"), ask(), ask()]
    assert [one.allowed for one in decide_all(rules, asked, uses.spend)] == [True, True, True, False]
    assert [one.allowed for one in decide_all(rules, asked, uses.spend)] == [False, True, False, False]
    sent_before = [one._replace(counted=False) for one in asked]
    assert all(one.allowed for one in decide_all(rules, sent_before, uses.spend)), "it was counted when it was sent"


def test_grants_are_used_up_one_after_the_other() -> None:
    rules, uses = table(Grant(name="one", uses=1), Grant(name="two", uses=2)), UsesInMemory()
    decided = decide_all(rules, [ask()] * 4, uses.spend)
    assert [one.grant.name if one.grant else one.default for one in decided] == ["one", "two", "two", "across_teams"]


def test_where_the_default_allows_nothing_is_counted() -> None:
    uses = UsesInMemory()
    assert decide_all(table(Grant(name="few", uses=1)), [ask("anna", "bert")] * 3, uses.spend)[2].allowed
    assert uses._left == {}


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "MAX_REMEMBERED", 10)
    rules = table(Grant(name="g", recipient="group:g5"))
    for number in range(100):
        rules.decide(ask(f"x{number}", f"y{number}", f"t{number}", group=f"g{number}"))
    memories = (rules._answers, rules._parties, rules._types, rules._groups)
    assert [len(memory) for memory in memories] == [10] * 4


def test_a_long_chain_of_roles_is_no_recursion() -> None:
    names = [f"r{number}" for number in range(1_000)]
    chain = tuple(
        Role(name=name, inherits=(after,)) for name, after in zip(names, [*names[1:], ""], strict=True) if after
    )
    roles = (replace(chain[0], agents=("anna",)), *chain[1:], Role(name=names[-1]))
    rules = table(Grant(name="g", sender=f"role:{names[-1]}"), roles=roles)
    assert len(rules.decide(ask()).sender_path) == 1_001
    with pytest.raises(AccessPolicyError, match="circle"):
        table(roles=(*roles[:-1], Role(name=names[-1], inherits=(names[0],))))


def test_a_decision_takes_microseconds() -> None:
    rules = table(*(Grant(name=f"g{number}", sender=f"s{number}", type="a.*") for number in range(1_000)))
    asked = [ask(f"s{number % 100}", "carl", "a.b") for number in range(10_000)]
    decide_all(rules, asked, UsesInMemory().spend)
    begun = perf_counter()
    decide_all(rules, asked, UsesInMemory().spend)
    assert (perf_counter() - begun) / len(asked) < 20e-6, "20 µs: ten times what it takes, for slow machines"
