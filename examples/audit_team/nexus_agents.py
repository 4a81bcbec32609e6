"""Registers the team. Every worker imports this module, because its app is installed."""

from __future__ import annotations

from examples.audit_team.database import DatabaseStore
from examples.audit_team.team import build_team
from messaging.api import registry

for spec in build_team(DatabaseStore()):
    registry.register(spec)
