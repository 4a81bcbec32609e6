"""What is sound in a policy and still hardly meant."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime

from messaging.security.access.graph import named_agents
from messaging.security.access.policy import ROLE_PREFIX, Effect, Policy
from messaging.security.access.validating import suggest


def lint(policy: Policy, at: datetime, agents: Collection[str] = ()) -> list[str]:
    """List what looks like a mistake, each with its place.

    Args:
        policy: a sound one.
        at: the moment that time windows are compared with.
        agents: that exist; empty when that is not known.
    """
    found = [*_roles(policy), *_grants(policy, at)]
    for team in policy.teams:
        if not team.agents:
            found.append(f"teams.{team.name}: nobody is in this team; add agents, or remove it")
    if agents:
        for name in named_agents(policy):
            if name not in agents:
                found.append(f"no agent is named {name!r} so far; {suggest(name, agents)}")
    return found


def _roles(policy: Policy) -> Iterator[str]:
    inherited = {parent for role in policy.roles for parent in role.inherits}
    used = {one.removeprefix(ROLE_PREFIX) for grant in policy.grants for one in (grant.sender, grant.recipient)}
    for role in policy.roles:
        if not role.agents and role.name not in inherited:
            yield f"roles.{role.name}: nobody has this role; add agents, or remove it"
        if role.name not in used and not role.inherits:
            yield f"roles.{role.name}: no grant names this role; add one, or remove it"


def _grants(policy: Policy, at: datetime) -> Iterator[str]:
    for number, grant in enumerate(policy.grants):
        if grant.ends is not None and grant.ends <= at:
            yield f"grants[{number}].ends: {grant.name!r} ended at {grant.ends.isoformat()}; remove it"
        if grant.uses == 0:
            yield f"grants[{number}].uses: {grant.name!r} is used up; remove it, or give it more uses"
    allows = any(grant.effect is Effect.ALLOW for grant in policy.grants)
    if allows and not policy.teams and policy.defaults.without_team is Effect.ALLOW:
        yield "defaults.without_team: without teams all is allowed that no grant denies; add teams, or write deny"
