"""Casbin's example policies, as cases: what its rules mean there, they mean here."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import product

import pytest

from messaging.core.errors import AccessPolicyError
from messaging.security.access.compiling import DecisionTable
from messaging.security.access.decision import AccessRequest
from messaging.security.access.policy import Defaults, Effect, Grant, Policy, PolicyTeam, Role
from tests.support.corpora import find_corpus

NOW = datetime(2027, 1, 1, tzinfo=UTC)
DENIED = Defaults(inside_team=Effect.DENY, across_teams=Effect.DENY, without_team=Effect.DENY)
Lines = list[list[str]]


def load(name: str) -> tuple[Lines, Lines]:
    """The rules and the memberships of a policy."""
    file = find_corpus("casbin") / "examples" / f"rbac_with_{name}_policy.csv"
    if name.endswith("2"):
        file = file.with_name("rbac_with_domains_policy2.csv")
    rows = [row for row in csv.reader(file.read_text().splitlines(), skipinitialspace=True) if row]
    cleaned = [[cell.strip().replace(":", ".").replace("_", "-") for cell in row] for row in rows]
    return [row[1:] for row in cleaned if row[0] == "p"], [row[1:] for row in cleaned if row[0] == "g"]


def build(rules: Lines, memberships: Lines) -> Policy:
    """One role for every name; where it is an agent's, the agent has it."""
    names = dict.fromkeys(name for row in memberships for name in row[:2])
    names.update(dict.fromkeys(row[0] for row in rules))
    return Policy(
        roles=tuple(
            Role(name=name, agents=(name,), inherits=tuple(row[1] for row in memberships if row[0] == name))
            for name in names
        ),
        grants=tuple(
            Grant(
                name=f"p{number}",
                effect=Effect(row[3]) if len(row) > 3 else Effect.ALLOW,
                sender=f"role:{row[0]}",
                recipient=row[1],
                type=row[2],
            )
            for number, row in enumerate(rules)
        ),
        defaults=DENIED,
    )


def closure(name: str, memberships: Lines) -> set[str]:
    """The name, and all that it stands for, as casbin's g() says."""
    found = {name}
    while True:
        more = {row[1] for row in memberships if row[0] in found} - found
        if not more:
            return found
        found |= more


def casbin_allows(rules: Lines, memberships: Lines, sub: str, obj: str, act: str) -> bool:
    subjects = closure(sub, memberships)
    effects = [row[3] if len(row) > 3 else "allow" for row in rules if row[0] in subjects and row[1:3] == [obj, act]]
    return "allow" in effects and "deny" not in effects


def values(rows: Iterable[list[str]], column: int) -> list[str]:
    return sorted({row[column] for row in rows})


@pytest.mark.parametrize(("name", "allowed"), [("hierarchy", 5), ("deny", 3)])
def test_roles_and_denials(name: str, allowed: int) -> None:
    rules, memberships = load(name)
    table = DecisionTable(build(rules, memberships))
    people = sorted({*values(rules, 0), *values(memberships, 0), "nobody"})
    count = 0
    for sub, obj, act in product(people, values(rules, 1), values(rules, 2)):
        decision = table.decide(AccessRequest(sub, obj, act, NOW))
        assert decision.allowed == casbin_allows(rules, memberships, sub, obj, act), (sub, obj, act)
        count += decision.allowed and sub in ("alice", "bob")
    assert count == allowed


def test_a_circle_is_refused_with_its_path() -> None:
    with pytest.raises(AccessPolicyError) as caught:
        DecisionTable(build(*load("cycle")))
    path = "alice → data2-admin → super-admin → alice"
    assert path in str(caught.value)


@pytest.mark.parametrize("name", ["domains", "domains_2", "hierarchy_with_domains"])
def test_domains_are_teams(name: str) -> None:
    """A right in one domain is none in another: roles are named with their domain, grants hold in its team."""
    rules, memberships = load(name)
    domains = sorted({*values(rules, 1), *values(memberships, 2)})
    people = sorted({*values(rules, 0), *values(memberships, 0), "nobody"})
    objects = values(rules, 2)
    policy = Policy(
        roles=tuple(
            Role(
                name=f"{domain}.{who}",
                agents=(who,),
                inherits=tuple(f"{domain}.{row[1]}" for row in memberships if row[0] == who and row[2] == domain),
            )
            for domain in domains
            for who in sorted({*people, *values(memberships, 1)})
        ),
        teams=tuple(PolicyTeam(name=domain, agents=(f"{domain}.*", *people)) for domain in domains),
        grants=tuple(
            Grant(
                name=f"p{number}",
                sender=f"role:{domain}.{who}",
                recipient=f"{domain}.{obj}",
                type=act,
                team=domain,
            )
            for number, (who, domain, obj, act) in enumerate(rules)
        ),
        defaults=DENIED,
    )
    table = DecisionTable(policy)
    count = 0
    for sub, domain, obj, act in product(people, domains, objects, values(rules, 3)):
        within = [row for row in memberships if row[2] == domain]
        wanted = casbin_allows([[row[0], *row[2:]] for row in rules if row[1] == domain], within, sub, obj, act)
        assert table.decide(AccessRequest(sub, f"{domain}.{obj}", act, NOW)).allowed == wanted, (sub, domain, obj, act)
        count += wanted
    assert count >= 4


def test_memberships_that_end_and_patterns_of_acts() -> None:
    """The policy with conditions: a membership that ended long ago gives nothing, ``/user/*`` is a pattern."""
    rules, memberships = load("domains_conditional")
    grants = []
    for number, (who, role, domain, _, until) in enumerate(memberships):
        # One of them ended in the year 0, which Python does not know.
        ends = datetime.fromisoformat(until.replace(".", ":").replace("0000-", "0001-"))
        for row, (subject, place, obj, act) in enumerate(rules):
            if (subject, place) == (role, domain):
                pattern = act.strip("/").replace(".id", "*") or "*"
                grants.append(
                    Grant(
                        name=f"g{number}-{row}",
                        sender=who,
                        recipient=f"{domain}.{obj}",
                        type=pattern,
                        ends=ends.replace(tzinfo=UTC),
                    )
                )
    table = DecisionTable(Policy(grants=tuple(grants), defaults=DENIED))
    for sender, recipient, type, allowed in (
        ("alice", "domain1.service1", "list", True),
        ("alice", "domain1.service1", "user/anything", True),
        ("alice", "domain1.service1", "get/7/x", True),
        ("alice", "domain1.service1", "lists", False),
        ("alice", "domain2.service2", "trip", False),
        ("bob", "domain2.service2", "trip", True),
        ("bob", "domain1.service1", "list", False),
        ("jack", "domain1.service1", "list", False),
        ("nobody", "domain1.service1", "list", False),
    ):
        assert table.decide(AccessRequest(sender, recipient, type, NOW)).allowed == allowed, (sender, recipient, type)
