"""Who can reach whom, as data; ``drawing`` makes a picture of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from messaging.core.errors import AccessPolicyError
from messaging.security.access.compiling import DecisionTable
from messaging.security.access.decision import AccessRequest
from messaging.security.access.policy import ANY, Effect, Policy

MAX_AGENTS = 300
MAX_PATTERNS = 50
"""Kinds of types that are told apart."""
OTHER = "other types"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One agent can send to another.

    Args:
        sender, recipient: the agents.
        types: patterns of what it may send; ``*`` alone for everything.
        conditional: not always: a grant that allows it, or one that refuses it, depends on the time, the workflow or
            its remaining uses.
    """

    sender: str
    recipient: str
    types: tuple[str, ...]
    conditional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """A graph of agents.

    Args:
        agents: the nodes, with the teams that they are in.
        edges: who can send to whom; nobody's edge to itself is listed.
    """

    agents: dict[str, tuple[str, ...]]
    edges: tuple[Edge, ...]

    def data(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "agents": [{"name": name, "teams": list(teams)} for name, teams in self.agents.items()],
            "edges": [
                {
                    "sender": edge.sender,
                    "recipient": edge.recipient,
                    "types": list(edge.types),
                    "conditional": edge.conditional,
                }
                for edge in self.edges
            ],
        }


def reach(policy: Policy, agents: Sequence[str], at: datetime, *, type: str = "") -> Reach:
    """Find out who can reach whom.

    Args:
        policy: that decides.
        agents: at most ``MAX_AGENTS``.
        at: the moment that time windows are compared with.
        type: look at this message type only.

    Raises:
        AccessPolicyError: the policy cannot work, or there are too many agents.
    """
    if len(agents) > MAX_AGENTS:
        raise AccessPolicyError(f"a graph of {len(agents)} agents is too large; choose at most {MAX_AGENTS} of them")
    strict, generous = DecisionTable(policy), DecisionTable(_generous(policy))
    probes = {type: type} if type else _probes(policy)
    edges = []
    for sender in agents:
        for recipient in agents:
            if sender != recipient:
                always = _allowed(strict, sender, recipient, probes, at)
                sometimes = _allowed(generous, sender, recipient, probes, at)
                if sometimes:
                    edges.append(
                        Edge(
                            sender=sender,
                            recipient=recipient,
                            types=tuple(sometimes) if len(sometimes) < len(probes) or type else (ANY,),
                            conditional=always != sometimes,
                        )
                    )
    return Reach(agents={name: tuple(sorted(strict.teams_of(name))) for name in agents}, edges=tuple(edges))


def named_agents(policy: Policy) -> list[str]:
    """The agents that a policy calls by their full names."""
    named = {name for part in (policy.roles, policy.teams) for one in part for name in one.agents}
    named.update(name for grant in policy.grants for name in (grant.sender, grant.recipient))
    return sorted(name for name in named if "*" not in name and ":" not in name)


def _generous(policy: Policy) -> Policy:
    """Every condition that can be met is met."""
    grants = (
        replace(grant, workflow=None, starts=None, ends=None, uses=None)
        for grant in policy.grants
        if grant.effect is Effect.ALLOW or not grant.conditional
    )
    return replace(policy, grants=tuple(grants))


def _probes(policy: Policy) -> dict[str, str]:
    """Pattern → a type that stands for what it matches."""
    patterns = dict.fromkeys(grant.type for grant in policy.grants if grant.type != ANY)
    probes = {pattern: pattern.replace("*", "x") for pattern in list(patterns)[:MAX_PATTERNS]}
    return {**probes, OTHER: "0-any-other-type-0"}


def _allowed(table: DecisionTable, sender: str, recipient: str, probes: dict[str, str], at: datetime) -> list[str]:
    return [
        pattern for pattern, type in probes.items() if table.decide(AccessRequest(sender, recipient, type, at)).allowed
    ]
