"""The agents that this process can run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from messaging.core.backoff import RetryPolicy
from messaging.core.context import HandlerContext
from messaging.core.envelope import Envelope
from messaging.core.errors import ConfigurationError
from messaging.core.names import check_agent_name

Handler = Callable[[Envelope, HandlerContext], Any]


class HandlerKind(StrEnum):
    TRANSACTIONAL = "transactional"
    LEASED = "leased"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpec:
    """How an agent is run.

    Args:
        name: unique among all agents and groups.
        handler: called with (message, context); sync, or async for leased agents.
        kind: transactional (quick, database only) or leased (slow, or calling out).
        retry: its retry policy, or None for the settings' own.
        description: for operators.
    """

    name: str
    handler: Handler
    kind: HandlerKind = HandlerKind.TRANSACTIONAL
    retry: RetryPolicy | None = None
    description: str = ""


def _check_handler(spec: AgentSpec) -> None:
    if not callable(spec.handler):
        raise ConfigurationError(f"Agent {spec.name!r}: its handler {spec.handler!r} is not callable. Pass a function.")
    try:
        inspect.signature(spec.handler).bind(None, None)
    except TypeError as error:
        raise ConfigurationError(
            f"Agent {spec.name!r}: its handler cannot be called as handler(message, context): {error}. "
            "Give it these two parameters."
        ) from None
    if inspect.iscoroutinefunction(spec.handler) and spec.kind is HandlerKind.TRANSACTIONAL:
        raise ConfigurationError(
            f"Agent {spec.name!r}: an async handler cannot run inside a database transaction. Make the agent leased."
        )


class AgentRegistry:
    """Agents by name. A name is registered once; registering the same handler again is harmless."""

    def __init__(self) -> None:
        self._specs: dict[str, AgentSpec] = {}

    def register(self, spec: AgentSpec) -> None:
        """Add an agent.

        Raises:
            ConfigurationError: the name is taken or malformed, or the handler cannot be called as it will be.
        """
        check_agent_name(spec.name)
        _check_handler(spec)
        present = self._specs.get(spec.name)
        if present is not None and present.handler is not spec.handler:
            raise ConfigurationError(
                f"Agent {spec.name!r} is registered twice, with {present.handler!r} "
                f"and with {spec.handler!r}. Rename one."
            )
        self._specs[spec.name] = spec

    def get(self, name: str) -> AgentSpec | None:
        return self._specs.get(name)

    def remove(self, name: str) -> None:
        self._specs.pop(name, None)

    def __iter__(self) -> Iterator[AgentSpec]:
        return iter(self._specs.values())

    def __len__(self) -> int:
        return len(self._specs)


registry = AgentRegistry()
