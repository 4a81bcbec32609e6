"""A policy as plain data and as YAML; ``reading`` reads both again."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import Any
from uuid import UUID

import yaml

from messaging.security.access.policy import ANY, Defaults, Grant, Policy, Role


def policy_data(policy: Policy) -> dict[str, Any]:
    """The policy as JSON values."""
    return {
        "version": 1,
        "defaults": {field.name: str(getattr(policy.defaults, field.name)) for field in fields(Defaults)},
        "teams": {team.name: list(team.agents) for team in policy.teams},
        "roles": {role.name: role_data(role) for role in policy.roles},
        "grants": [grant_data(grant) for grant in policy.grants],
    }


def role_data(role: Role) -> dict[str, Any]:
    """A role as JSON values, without its name."""
    data: dict[str, Any] = {"agents": list(role.agents)}
    if role.inherits:
        data["inherits"] = list(role.inherits)
    if role.note:
        data["note"] = role.note
    return data


def grant_data(grant: Grant) -> dict[str, Any]:
    """A grant as JSON values, without what holds anyway."""
    data: dict[str, Any] = {"name": grant.name, "effect": str(grant.effect)}
    for field in fields(Grant):
        value = getattr(grant, field.name)
        if field.name in data or value in ("", None, ANY):
            continue
        if isinstance(value, datetime):
            data[field.name] = value.isoformat()
        else:
            data[field.name] = str(value) if isinstance(value, UUID) else value
    return data


def policy_yaml(policy: Policy) -> str:
    """The policy as YAML, in an order that is good to read and to compare."""
    return yaml.safe_dump(policy_data(policy), sort_keys=False, allow_unicode=True, width=120)
