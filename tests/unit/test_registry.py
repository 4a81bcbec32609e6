"""The registry refuses an agent that could not be run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from messaging.api import AgentSpec, ConfigurationError, HandlerKind
from messaging.core.registry import AgentRegistry


def handler(message: Any, context: Any) -> None: ...
def another(message: Any, context: Any) -> None: ...
def with_default(message: Any, context: Any, extra: int = 0) -> None: ...
def with_any(*arguments: Any) -> None: ...
def too_few(message: Any) -> None: ...
def too_many(message: Any, context: Any, extra: Any) -> None: ...
async def slow(message: Any, context: Any) -> None: ...


@pytest.mark.parametrize("function", [handler, with_default, with_any, lambda message, context: None])
def test_what_can_be_called_is_taken(function: Callable[..., Any]) -> None:
    registry = AgentRegistry()
    registry.register(AgentSpec(name="a", handler=function))
    registry.register(AgentSpec(name="a", handler=function))
    assert len(registry) == 1


@pytest.mark.parametrize("function", [too_few, too_many, None, "handler", slow])
def test_what_cannot_be_called_is_refused(function: Any) -> None:
    with pytest.raises(ConfigurationError):
        AgentRegistry().register(AgentSpec(name="a", handler=function))


def test_async_handlers_are_leased() -> None:
    AgentRegistry().register(AgentSpec(name="a", handler=slow, kind=HandlerKind.LEASED))


def test_a_name_is_taken_once() -> None:
    registry = AgentRegistry()
    registry.register(AgentSpec(name="a", handler=handler))
    with pytest.raises(ConfigurationError, match="twice"):
        registry.register(AgentSpec(name="a", handler=another))
    registry.remove("a")
    registry.register(AgentSpec(name="a", handler=another))


@pytest.mark.parametrize("name", ["", "Upper", "with space", "-dash", "x" * 101, "émile"])
def test_malformed_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError):
        AgentRegistry().register(AgentSpec(name=name, handler=handler))


def test_an_agent_may_be_registered_while_another_thread_goes_through_them() -> None:
    registry = AgentRegistry()
    registry.register(AgentSpec(name="a", handler=handler))
    registry.register(AgentSpec(name="b", handler=handler))
    seen = []
    for spec in registry:
        seen.append(spec.name)
        registry.register(AgentSpec(name=f"late-{spec.name}", handler=handler))
    assert seen == ["a", "b"]
