"""Random policies decide as Cedar does, which knows nothing of this code.

TEST_ACCESS_POLICIES says how many; 10,000 take a few minutes.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messaging.security.access.compiling import DecisionTable
from messaging.security.access.decision import AccessRequest
from messaging.security.access.policy import Defaults, Effect, Grant, Policy, PolicyTeam, Role

cedarpy = pytest.importorskip("cedarpy")

POLICIES = int(os.environ.get("TEST_ACCESS_POLICIES", "300"))
AGENTS = ("a", "ab", "b-1", "b-2", "c")
AGENT_PATTERNS = ("*", "a*", "b-*", "*-1", *AGENTS)
TYPES = ("order.placed", "order", "note/order.x")
TYPE_PATTERNS = ("*", "order*", "order.*", "*.x", *TYPES)
ROLES = ("r0", "r1", "r2", "r3")
TEAMS = ("t0", "t1")
GROUPS = ("", "g0", "g1")
WORKFLOWS = (None, UUID(int=1), UUID(int=2))
START = datetime(2027, 1, 1, tzinfo=UTC)
MOMENTS = tuple(START + timedelta(hours=hours) for hours in range(4))


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Sound policies over few names, so that much of them applies."""
    some_agents = st.lists(st.sampled_from(AGENT_PATTERNS), max_size=2, unique=True).map(tuple)
    roles = [
        Role(
            name=name,
            agents=draw(some_agents),
            inherits=tuple(draw(st.lists(st.sampled_from(ROLES[number + 1 :]), unique=True, max_size=2)))
            if number + 1 < len(ROLES)
            else (),
        )
        for number, name in enumerate(ROLES)
    ]
    effects = st.sampled_from(Effect)
    return Policy(
        roles=tuple(draw(st.permutations(roles))),
        teams=tuple(PolicyTeam(name=name, agents=draw(some_agents)) for name in TEAMS),
        grants=tuple(draw(_grant(number)) for number in range(draw(st.integers(0, 6)))),
        defaults=Defaults(inside_team=draw(effects), across_teams=draw(effects), without_team=draw(effects)),
    )


@st.composite
def _grant(draw: st.DrawFn, number: int) -> Grant:
    effect = draw(st.sampled_from(Effect))
    roles = [f"role:{name}" for name in ROLES]
    window = sorted(draw(st.lists(st.sampled_from(MOMENTS), min_size=2, max_size=2, unique=True)))
    return Grant(
        name=f"grant-{number}",
        effect=effect,
        sender=draw(st.sampled_from((*AGENT_PATTERNS, *roles))),
        recipient=draw(st.sampled_from((*AGENT_PATTERNS, *roles, "group:g0", "group:g1"))),
        type=draw(st.sampled_from(TYPE_PATTERNS)),
        team=draw(st.sampled_from(("", "", *TEAMS))),
        workflow=draw(st.sampled_from((None, *WORKFLOWS))),
        starts=draw(st.sampled_from((None, window[0]))),
        ends=draw(st.sampled_from((None, window[1]))),
        uses=draw(st.sampled_from((None, None, 0, 3))) if effect is Effect.ALLOW else None,
    )


requests = st.builds(
    AccessRequest,
    sender=st.sampled_from(AGENTS),
    recipient=st.sampled_from(AGENTS),
    type=st.sampled_from(TYPES),
    at=st.sampled_from(MOMENTS),
    group=st.sampled_from(GROUPS),
    workflow=st.sampled_from(WORKFLOWS),
    counted=st.booleans(),
)


@settings(max_examples=POLICIES, deadline=None, suppress_health_check=list(HealthCheck))
@given(policies(), st.lists(requests, min_size=1, max_size=8))
@pytest.mark.timeout(3_600)
def test_decides_as_cedar_does(policy: Policy, asked: list[AccessRequest]) -> None:
    table = DecisionTable(policy)
    answers = cedarpy.is_authorized_batch([in_cedar(one) for one in asked], cedar(policy), entities(policy))
    for request, answer in zip(asked, answers, strict=True):
        assert not answer.diagnostics.errors
        decision = table.decide(request)
        assert decision.allowed == answer.allowed, f"{request}: {decision}"
        if decision.grant is not None:
            number = policy.grants.index(decision.grant)
            assert f"policy{number}" in answer.diagnostics.reasons
        assert table.decide(request) == decision, "the second answer comes from memory"


def in_cedar(request: AccessRequest) -> dict[str, Any]:
    return {
        "principal": f'Agent::"{request.sender}"',
        "action": 'Action::"send"',
        "resource": f'Agent::"{request.recipient}"',
        "context": {
            "sender": request.sender,
            "recipient": request.recipient,
            "type": request.type,
            "group": request.group,
            "workflow": str(request.workflow),
            "counted": request.counted,
            "at": int(request.at.timestamp()),
        },
    }


def entities(policy: Policy) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            "uid": {"type": "Role", "id": role.name},
            "attrs": {},
            "parents": [{"type": "Role", "id": parent} for parent in role.inherits],
        }
        for role in policy.roles
    ]
    for agent in AGENTS:
        teams = [team.name for team in policy.teams if matches(agent, team.agents)]
        roles = [role.name for role in policy.roles if matches(agent, role.agents)]
        found.append(
            {
                "uid": {"type": "Agent", "id": agent},
                "attrs": {"teams": teams},
                "parents": [{"type": "Role", "id": name} for name in roles],
            }
        )
    return found


def matches(agent: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(agent, pattern) for pattern in patterns)


def cedar(policy: Policy) -> str:
    """The grants in their order, and then the defaults."""
    lines = []
    for grant in policy.grants:
        conditions = [
            party("principal", "sender", grant.sender),
            party("resource", "recipient", grant.recipient),
            f'context.type like "{grant.type}"',
        ]
        if grant.team:
            conditions.append(f'principal.teams.contains("{grant.team}") && resource.teams.contains("{grant.team}")')
        if grant.workflow:
            conditions.append(f'context.workflow == "{grant.workflow}"')
        if grant.starts:
            conditions.append(f"context.at >= {int(grant.starts.timestamp())}")
        if grant.ends:
            conditions.append(f"context.at < {int(grant.ends.timestamp())}")
        if grant.uses == 0:
            conditions.append("!context.counted")
        lines.append(statement(grant.effect, " && ".join(conditions)))
    teamless = "principal.teams.isEmpty() || resource.teams.isEmpty()"
    common = "principal.teams.containsAny(resource.teams)"
    for effect, condition in (
        (policy.defaults.inside_team, common),
        (policy.defaults.across_teams, f"!({teamless}) && !{common}"),
        (policy.defaults.without_team, teamless),
    ):
        if effect is Effect.ALLOW:
            lines.append(statement(effect, condition))
    return "\n".join(lines)


def party(variable: str, name: str, pattern: str) -> str:
    kind, _, value = pattern.rpartition(":")
    if kind == "role":
        return f'{variable} in Role::"{value}"'
    if kind == "group":
        return f'context.group == "{value}"'
    return f'context.{name} like "{pattern}"'


def statement(effect: Effect, condition: str) -> str:
    word = "permit" if effect is Effect.ALLOW else "forbid"
    return f"{word}(principal, action, resource) when {{ {condition} }};"
