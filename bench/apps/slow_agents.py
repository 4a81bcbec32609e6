"""A quick agent and one that sleeps, both transactional, named by NEXUS_AGENTS."""

from __future__ import annotations

import time

from messaging.api import AgentSpec, Envelope, HandlerContext, registry


def _quick(message: Envelope, context: HandlerContext) -> None:
    """Nothing to do."""


def _sleep(message: Envelope, context: HandlerContext) -> None:
    time.sleep(message.data["seconds"])


registry.register(AgentSpec(name="quick", handler=_quick))
registry.register(AgentSpec(name="sleeper", handler=_sleep))
