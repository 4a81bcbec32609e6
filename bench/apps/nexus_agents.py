"""The agents of the benchmark, named by NEXUS_AGENTS."""

from __future__ import annotations

from bench.apps.relay import agent_of, handle_leg
from messaging.api import AgentSpec, Envelope, HandlerContext, registry

MEMBERS = [f"member{number:02}" for number in range(100)]
"""Of the group in the fan-out."""


def _run(message: Envelope, context: HandlerContext) -> None:
    following = handle_leg(message.data)
    if following is not None:
        context.send(agent_of(following["leg"]), "race.leg", following)


for _name in ("ping", "pong", *MEMBERS):
    registry.register(AgentSpec(name=_name, handler=_run))
