"""Agents that are busy for a moment, one of each kind, for the test that takes their senders' grant away."""

from __future__ import annotations

import threading

from messaging.api import AgentSpec, Envelope, HandlerContext, HandlerKind, registry

_never = threading.Event()


def work(message: Envelope, context: HandlerContext) -> None:
    """Take five milliseconds."""
    _never.wait(0.005)


registry.register(AgentSpec(name="quick", handler=work))
registry.register(AgentSpec(name="slow", handler=work, kind=HandlerKind.LEASED))
