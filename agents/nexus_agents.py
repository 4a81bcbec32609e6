"""The agents that every installation has."""

from __future__ import annotations

from agents.chat.hosts.session import handle
from agents.chat.rules.messages import MANAGER
from agents.judge.agent import JUDGE_AGENT
from messaging.api import AgentSpec, registry

registry.register(AgentSpec(name=MANAGER, handler=handle, description="Moves group chats on."))
registry.register(JUDGE_AGENT)
