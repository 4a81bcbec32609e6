"""System checks of agents; a worker runs them when it starts."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error
from django.db import Error as DatabaseError

from messaging.api import registry
from messaging.extension import known_names


def check_partners(**_: Any) -> list[CheckMessage]:
    """E018: an agent sends to one that neither this process nor the database knows."""
    wanted = {partner: spec.name for spec in registry for partner in spec.partners}
    missing = wanted.keys() - {spec.name for spec in registry}
    if not missing:
        return []
    try:
        known = known_names()
    except DatabaseError:
        return []  # the checks of the database say so
    return [
        Error(
            f"Agent {wanted[partner]!r} sends to {partner!r}, and no agent or group has that name.",
            hint=registry.suggest(partner, known).strip() + " Otherwise start the worker that has it first.",
            id="nexus.E018",
        )
        for partner in sorted(missing - known)
    ]
