"""Why a request is allowed or refused, for people and as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from messaging.security.access.compiling import DecisionTable
from messaging.security.access.decision import AccessDecision, AccessRequest
from messaging.security.access.policy import Effect, Grant
from messaging.security.access.writing import grant_data

MAX_NEAR = 5
"""Grants that are listed as nearly applying."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A decision with all that led to it.

    Args:
        request, decision: the question and the answer.
        applying: every grant that applies, the decisive one among them.
        near: for a refusal by default, grants that nearly allow it, the nearest first, with what of them does not hold.
        sender_roles, recipient_roles: each way from the agent to a role that it has.
        sender_teams, recipient_teams: that the agents are in.
    """

    request: AccessRequest
    decision: AccessDecision
    applying: tuple[Grant, ...]
    near: tuple[tuple[Grant, tuple[str, ...]], ...]
    sender_roles: tuple[tuple[str, ...], ...]
    recipient_roles: tuple[tuple[str, ...], ...]
    sender_teams: tuple[str, ...]
    recipient_teams: tuple[str, ...]

    def data(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "request": {
                "sender": self.request.sender,
                "recipient": self.request.recipient,
                "type": self.request.type,
                "group": self.request.group,
                "workflow": str(self.request.workflow) if self.request.workflow else None,
                "at": self.request.at.isoformat(),
            },
            "allowed": self.decision.allowed,
            "grant": grant_data(self.decision.grant) if self.decision.grant else None,
            "default": self.decision.default or None,
            "sender_path": list(self.decision.sender_path),
            "recipient_path": list(self.decision.recipient_path),
            "applying": [grant.name for grant in self.applying],
            "near": [{"grant": grant.name, "unmet": list(unmet)} for grant, unmet in self.near],
            "sender": {"roles": [list(path) for path in self.sender_roles], "teams": list(self.sender_teams)},
            "recipient": {"roles": [list(path) for path in self.recipient_roles], "teams": list(self.recipient_teams)},
        }

    def lines(self) -> list[str]:
        """In words."""
        lines = [f"{self.request}: {self.decision}"]
        for name, paths, teams in (
            (self.request.sender, self.sender_roles, self.sender_teams),
            (self.request.recipient, self.recipient_roles, self.recipient_teams),
        ):
            roles = ", ".join(" → ".join(path[1:]) for path in paths) or "none"
            lines.append(f"  {name}: roles {roles}; teams {', '.join(teams) or 'none'}")
        for grant in self.applying:
            mark = "decides" if grant is self.decision.grant else "applies too"
            lines.append(f"  {grant.effect} {grant.name}: {mark}")
        for grant, unmet in self.near:
            lines.append(f"  would be allowed by {grant.name}, but {' and '.join(unmet)}")
        if not self.decision.allowed and self.decision.grant is None:
            lines.append(f"  to allow just this, add the grant {suggested(self.request)}")
        return lines


def explain(table: DecisionTable, request: AccessRequest) -> Explanation:
    """Explain the decision on a request. Looks at every grant: not for the path of messages."""
    decision = table.decide(request)
    unmet = [(grant, table.unmet(grant, request)) for grant in table.policy.grants]
    near: list[tuple[Grant, tuple[str, ...]]] = []
    if not decision.allowed and decision.grant is None:
        allows = [(grant, words) for grant, words in unmet if grant.effect is Effect.ALLOW]
        near = sorted(allows, key=lambda pair: len(pair[1]))[:MAX_NEAR]
    return Explanation(
        request=request,
        decision=decision,
        applying=tuple(grant for grant, words in unmet if not words),
        near=tuple(near),
        sender_roles=tuple(table.roles_of(request.sender).values()),
        recipient_roles=tuple(table.roles_of(request.recipient).values()),
        sender_teams=tuple(sorted(table.teams_of(request.sender))),
        recipient_teams=tuple(sorted(table.teams_of(request.recipient))),
    )


def suggested(request: AccessRequest) -> str:
    """The narrowest grant that allows a request, as YAML."""
    name = f"{request.sender[:40]}-to-{request.recipient[:40]}"
    return (
        f"{{name: {name}, effect: allow, sender: {request.sender}, recipient: {request.recipient}, "
        f"type: {request.type}}}"
    )
