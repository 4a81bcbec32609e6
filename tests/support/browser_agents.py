"""Agents for walks in a browser, named by NEXUS_AGENTS."""

from __future__ import annotations

from agents.api import Reply, Turn, participant
from messaging.api import AgentSpec, Envelope, HandlerContext, HandlerKind, TerminalError, registry


def check(message: Envelope, context: HandlerContext) -> None:
    """Refuse an order without an account."""
    if "account" not in message.data:
        raise TerminalError(f"Order {message.data['order']} names no account.")
    context.send("archivist", "order.checked", message.data)


def keep(message: Envelope, context: HandlerContext) -> None:
    """Nothing more comes of it."""


def write(turn: Turn) -> Reply:
    """Say what a person has to approve."""
    return Reply(content="Dear customer, your order is on its way.")


registry.register(AgentSpec(name="clerk", handler=check, description="Checks orders."))
registry.register(AgentSpec(name="archivist", handler=keep, description="Keeps what was checked."))
registry.register(AgentSpec(name="writer", handler=participant(write), kind=HandlerKind.LEASED))
