"""A policy in the database's rows, and back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from messaging.models import (
    AccessEffect,
    AccessEpoch,
    AccessGrant,
    AccessRole,
    AccessRoleMember,
    AccessTeam,
    AccessTeamMember,
)
from messaging.security.access.policy import Defaults, Effect, Grant, Policy, PolicyTeam, Role


def read_policy() -> Policy:
    """Read the rows, without judging them; no rows are the empty policy."""
    members = _lists(AccessRoleMember.objects.order_by("pk").values_list("role_id", "agent"))
    inherits = _lists(AccessRole.inherits.through._default_manager.order_by("pk").values_list(*_INHERITS))
    colleagues = _lists(AccessTeamMember.objects.order_by("pk").values_list("team_id", "agent"))
    return Policy(
        roles=tuple(
            Role(name=name, agents=tuple(members[name]), inherits=tuple(inherits[name]), note=note)
            for name, note in AccessRole.objects.order_by("name").values_list("name", "note")
        ),
        teams=tuple(
            PolicyTeam(name=name, agents=tuple(colleagues[name]))
            for name in AccessTeam.objects.order_by("name").values_list("name", flat=True)
        ),
        grants=tuple(_grant(row) for row in AccessGrant.objects.order_by("pk")),
        defaults=_defaults(),
    )


_INHERITS = ("from_accessrole_id", "to_accessrole_id")


def _lists(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    lists: dict[str, list[str]] = defaultdict(list)
    for name, value in pairs:
        lists[name].append(value)
    return lists


def _grant(row: AccessGrant) -> Grant:
    return Grant(
        name=row.name,
        effect=Effect(row.effect),
        sender=row.sender,
        recipient=row.recipient,
        type=row.type,
        team=row.team_id or "",
        workflow=row.workflow,
        starts=row.starts,
        ends=row.ends,
        uses=row.uses,
        note=row.note,
    )


def _defaults() -> Defaults:
    row = AccessEpoch.objects.filter(pk=1).first()
    if row is None:
        return Defaults()
    return Defaults(
        inside_team=Effect(row.inside_team),
        across_teams=Effect(row.across_teams),
        without_team=Effect(row.without_team),
    )


def write_policy(policy: Policy) -> None:
    """Put a policy in the place of the one that is there. Call it inside a change."""
    AccessGrant.objects.all().delete()
    AccessRole.objects.all().delete()
    AccessTeam.objects.all().delete()
    AccessRole.objects.bulk_create(AccessRole(name=role.name, note=role.note) for role in policy.roles)
    AccessRoleMember.objects.bulk_create(
        AccessRoleMember(role_id=role.name, agent=agent) for role in policy.roles for agent in role.agents
    )
    through = AccessRole.inherits.through
    through._default_manager.bulk_create(
        through(**dict(zip(_INHERITS, (role.name, parent), strict=True)))
        for role in policy.roles
        for parent in dict.fromkeys(role.inherits)
    )
    AccessTeam.objects.bulk_create(AccessTeam(name=team.name) for team in policy.teams)
    AccessTeamMember.objects.bulk_create(
        AccessTeamMember(team_id=team.name, agent=agent) for team in policy.teams for agent in team.agents
    )
    AccessGrant.objects.bulk_create(_row(grant) for grant in policy.grants)
    AccessEpoch.objects.filter(pk=1).update(
        inside_team=policy.defaults.inside_team,
        across_teams=policy.defaults.across_teams,
        without_team=policy.defaults.without_team,
    )


def _row(grant: Grant) -> AccessGrant:
    return AccessGrant(
        name=grant.name,
        effect=AccessEffect(grant.effect.value),
        sender=grant.sender,
        recipient=grant.recipient,
        type=grant.type,
        team_id=grant.team or None,
        workflow=grant.workflow,
        starts=grant.starts,
        ends=grant.ends,
        uses=grant.uses,
        note=grant.note,
    )
