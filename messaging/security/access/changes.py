"""What differs between two policies, part by part: for audits, and to look at before an import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from messaging.security.access.policy import Policy
from messaging.security.access.writing import grant_data, policy_data, role_data


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """One part that differs.

    Args:
        kind: role, team, grant, defaults, or order: that of the grants.
        name: of the part.
        before, after: as JSON values; None where it was not, or is no more.
    """

    kind: str
    name: str
    before: Any
    after: Any

    def __str__(self) -> str:
        what = "added" if self.before is None else "removed" if self.after is None else "changed"
        return f"{self.kind} {self.name}: {what}"


def compare(before: Policy, after: Policy) -> list[PolicyChange]:
    """List what an old and a new policy do not have in common."""
    changes: list[PolicyChange] = []
    for kind, old, new in (
        ("role", _roles(before), _roles(after)),
        ("team", _teams(before), _teams(after)),
        ("grant", _grants(before), _grants(after)),
        ("defaults", _defaults(before), _defaults(after)),
    ):
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                changes.append(PolicyChange(kind, name, old.get(name), new.get(name)))
    old_order, new_order = [list(_grants(policy)) for policy in (before, after)]
    if old_order != new_order and sorted(old_order) == sorted(new_order):
        changes.append(PolicyChange("order", "grants", old_order, new_order))
    return changes


def _roles(policy: Policy) -> Mapping[str, Any]:
    return {role.name: role_data(role) for role in policy.roles}


def _teams(policy: Policy) -> Mapping[str, Any]:
    return {team.name: list(team.agents) for team in policy.teams}


def _grants(policy: Policy) -> Mapping[str, Any]:
    return {grant.name: grant_data(grant) for grant in policy.grants}


def _defaults(policy: Policy) -> Mapping[str, Any]:
    defaults: Mapping[str, Any] = policy_data(policy)["defaults"]
    return defaults
