"""The agents that every installation has."""

from __future__ import annotations

from agents.chat.messages import MANAGER
from agents.chat.session import handle
from messaging.api import AgentSpec, registry

registry.register(AgentSpec(name=MANAGER, handler=handle, description="Moves group chats on."))
