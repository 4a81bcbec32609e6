"""What an access policy is: plain, frozen values, the same from code, a file or the database.

>>> policy = Policy(
...     roles=(Role(name="clerk", agents=("anna", "desk-*")),),
...     grants=(Grant(name="orders", effect=Effect.ALLOW, sender="role:clerk", recipient="ledger", type="order.*"),),
... )
>>> policy.grants[0].uses is None  # as often as wanted
True
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

ROLE_PREFIX = "role:"
GROUP_PREFIX = "group:"
ANY = "*"


class Effect(StrEnum):
    """What a grant, or a default, does."""

    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """Agents that share grants.

    Args:
        name: of the role.
        agents: names or patterns of its members.
        inherits: roles whose grants its members have too: they are members of those as well.
        note: for people.
    """

    name: str
    agents: tuple[str, ...] = ()
    inherits: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTeam:
    """Agents that may write to each other unless a grant says otherwise. An agent may be in several teams.

    Args:
        name: of the team.
        agents: names or patterns of its members.
    """

    name: str
    agents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Lets messages through, or refuses them. All of its conditions must hold.

    Args:
        name: unique in the policy; decisions and audits name it.
        effect: allow or deny; one deny outweighs every allow.
        sender: an agent's name or pattern, or ``role:NAME``.
        recipient: an agent's name or pattern, ``role:NAME``, or ``group:NAME``: what is addressed to that group.
        type: a message type or pattern.
        team: both agents must be members of this team; empty for any.
        workflow: only in this workflow; None for any.
        starts, ends: only from, and only before, these moments.
        uses: how many more messages it lets through; None for any number. For allow only.
        note: for people.
    """

    name: str
    effect: Effect = Effect.ALLOW
    sender: str = ANY
    recipient: str = ANY
    type: str = ANY
    team: str = ""
    workflow: UUID | None = None
    starts: datetime | None = None
    ends: datetime | None = None
    uses: int | None = None
    note: str = ""

    @property
    def conditional(self) -> bool:
        """Whether sender, recipient and type alone do not say if it applies."""
        return any(value is not None for value in (self.workflow, self.starts, self.ends, self.uses))


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What holds where no grant applies.

    Args:
        inside_team: both agents are in one team.
        across_teams: both are in teams, and in none together.
        without_team: one of them is in no team. Allowing this keeps an installation without teams, and what
            programs send into one with teams, as it was.
    """

    inside_team: Effect = Effect.ALLOW
    across_teams: Effect = Effect.DENY
    without_team: Effect = Effect.ALLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Who may send what to whom. An empty one allows everything."""

    roles: tuple[Role, ...] = ()
    teams: tuple[PolicyTeam, ...] = ()
    grants: tuple[Grant, ...] = ()
    defaults: Defaults = field(default_factory=Defaults)
