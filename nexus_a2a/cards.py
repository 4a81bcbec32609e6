"""Agent cards: which teams are offered, and what everybody may know of them.

Cards need no token, so a team has one only when ``NEXUS_A2A_TEAMS`` names it. Its members stay unnamed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from agents.api import AgentTeamBuilder, DefinitionError, TeamDefinition
from messaging.api import ReliableCommunicationBus
from messaging.extension import get_settings
from nexus_a2a.params import MODES
from nexus_a2a.signing import canonical, sign_card
from nexus_api.problems import ApiProblem, not_found
from nexus_api.scopes import Scope

VERSION = "1.0"
NEEDED = (Scope.MESSAGES_READ, Scope.WORKFLOWS_START)
SCHEME = "token"


def offered_teams() -> list[str]:
    """The teams that speak A2A, the first of them at the site's own well-known URL."""
    return [name.strip() for name in get_settings().a2a_teams.split(",") if name.strip()]


def check_offered(team: str) -> None:
    """Refuse a team that is not offered; whether there is one of that name stays unknown.

    Raises:
        ApiProblem: 404.
    """
    if team not in offered_teams():
        raise not_found("agent", team[:100])


def card_of(team: str, build_url: Callable[[str], str], key_url: str) -> dict[str, Any]:
    """The signed card of a team.

    Args:
        team: its name.
        build_url: makes the URL at which a team is spoken to.
        key_url: where the public keys are.

    Raises:
        ApiProblem: 404, it is not offered; 503, its definition cannot work at present.
        ConfigurationError, SigningKeyError: it cannot be signed.
    """
    check_offered(team)
    try:
        definition = AgentTeamBuilder(ReliableCommunicationBus()).build_team(team)
    except DefinitionError:
        raise ApiProblem(503, "agent-unavailable", f"The agent {team} is not available at present.") from None
    card = _describe(definition, build_url(team))
    card["version"] = hashlib.sha256(canonical(card).encode()).hexdigest()[:12]
    signatures = sign_card(card, key_url)
    return {**card, "signatures": signatures} if signatures else card


def _describe(team: TeamDefinition, url: str) -> dict[str, Any]:
    description = team.description or f"The team {team.name}."
    tags = sorted({capability for member in team.members for capability in member.capabilities})
    return {
        "name": team.name,
        "description": description,
        "supportedInterfaces": [{"url": url, "protocolBinding": "JSONRPC", "protocolVersion": VERSION}],
        "capabilities": {"streaming": True, "pushNotifications": False, "extendedAgentCard": False},
        "securitySchemes": {
            SCHEME: {"httpAuthSecurityScheme": {"scheme": "Bearer", "description": "A token of the HTTP API."}}
        },
        "securityRequirements": [{"schemes": {SCHEME: {"list": [str(scope) for scope in NEEDED]}}}],
        "defaultInputModes": list(MODES),
        "defaultOutputModes": list(MODES),
        "skills": [{"id": "chat", "name": team.name, "description": description, "tags": tags or ["chat"]}],
    }
