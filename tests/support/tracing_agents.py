"""Two agents whose models talk to each other, for a trace; named by NEXUS_AGENTS."""

from __future__ import annotations

from agents.llm import ChatMessage, ScriptedClient, run_turn
from messaging.api import AgentSpec, Envelope, HandlerContext, HandlerKind, registry

MODEL = ScriptedClient(["I see."], model="scripted-1")


async def talk(message: Envelope, context: HandlerContext) -> None:
    """Ask the model and send the other one its answer, until ten messages were said."""
    context.logger.info("Somebody talks.")
    result = await run_turn(context, MODEL, [ChatMessage("user", message.data["text"])])
    said = message.data["said"] + 1
    if said < 10:
        context.send("bob" if context.agent == "alice" else "alice", "talk.said", {"text": result.text, "said": said})


def forward(message: Envelope, context: HandlerContext) -> None:
    """Open the conversation in a transaction: one batch, one message."""
    context.send("alice", "talk.said", message.data)


registry.register(AgentSpec(name="desk", handler=forward))
for name in ("alice", "bob"):
    registry.register(AgentSpec(name=name, handler=talk, kind=HandlerKind.LEASED))
