"""Agents for the time of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from messaging.core.context import HandlerContext
from messaging.core.envelope import Envelope
from messaging.core.registry import AgentSpec, Handler, HandlerKind, registry


@contextmanager
def stand_in(
    name: str, handler: Handler | None = None, *, kind: HandlerKind = HandlerKind.TRANSACTIONAL, **options: Any
) -> Iterator[list[Envelope]]:
    """Put an agent in the place of the one with that name, if there is one, until the block ends.

    Args:
        name: of the agent.
        handler: what it does beside remembering; nothing when left out.
        kind, options: see ``AgentSpec``.

    Yields:
        The messages that it got, in order, each attempt counted.
    """
    got: list[Envelope] = []

    def remember(message: Envelope, context: HandlerContext) -> Any:
        got.append(message)
        return None if handler is None else handler(message, context)

    before = registry.get(name)
    stand_in_spec = AgentSpec(name=name, handler=remember, kind=kind, **options)
    registry.remove(name)
    registry.register(stand_in_spec)
    try:
        yield got
    finally:
        registry.remove(name)
        if before is not None:
            registry.register(before)
