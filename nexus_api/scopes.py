"""What callers may do. A scope is given to a token; a logged-in user, and a token's owner, need its permission."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """See ``PERMISSIONS``."""

    WORKFLOWS_READ = "workflows:read"
    WORKFLOWS_START = "workflows:start"
    WORKFLOWS_OPERATE = "workflows:operate"
    MESSAGES_READ = "messages:read"
    MESSAGES_SEND = "messages:send"
    APPROVALS_READ = "approvals:read"
    APPROVALS_ANSWER = "approvals:answer"
    DEAD_LETTERS_READ = "dead-letters:read"
    DEAD_LETTERS_RESOLVE = "dead-letters:resolve"
    AGENTS_READ = "agents:read"
    AGENTS_OPERATE = "agents:operate"
    AGENTS_ACT = "agents:act"
    HEALTH_READ = "health:read"


PERMISSIONS: dict[Scope, tuple[str, ...]] = {
    Scope.WORKFLOWS_READ: ("nexus.view_workflow",),
    Scope.WORKFLOWS_START: ("nexus.add_workflow", "nexus.add_message"),
    Scope.WORKFLOWS_OPERATE: ("nexus.change_workflow",),
    Scope.MESSAGES_READ: ("nexus.view_message",),
    Scope.MESSAGES_SEND: ("nexus.add_message",),
    Scope.APPROVALS_READ: ("nexus_agents.view_approval",),
    Scope.APPROVALS_ANSWER: ("nexus_agents.change_approval",),
    Scope.DEAD_LETTERS_READ: ("nexus.view_deadletter",),
    Scope.DEAD_LETTERS_RESOLVE: ("nexus.change_deadletter",),
    Scope.AGENTS_READ: ("nexus.view_agent",),
    Scope.AGENTS_OPERATE: ("nexus.change_agent",),
    Scope.AGENTS_ACT: ("nexus.add_message",),
    Scope.HEALTH_READ: ("nexus.view_workerstatus",),
}

OF_EVERYTHING = frozenset({Scope.AGENTS_READ, Scope.AGENTS_OPERATE, Scope.HEALTH_READ})
"""Scopes over what no workflow owns: for callers who see every workflow only."""
