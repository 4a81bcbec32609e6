"""Making agents: what is refused, and what the decorator and the base class fill in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from agents.api import BaseAgent, agent
from messaging.api import AgentSpec, ConfigurationError, Envelope, HandlerContext, HandlerKind, registry


@pytest.fixture(autouse=True)
def _own_registry() -> Iterator[None]:
    before = {spec.name for spec in registry}
    yield
    for spec in list(registry):
        if spec.name not in before:
            registry.remove(spec.name)


def handle(message: Envelope, context: HandlerContext) -> None:
    """Does nothing.

    At length.
    """


async def handle_async(message: Envelope, context: HandlerContext) -> None: ...


def test_the_decorator_fills_in_the_rest_and_returns_the_function() -> None:
    assert agent("plain", accepts=["a.b"])(handle) is handle
    spec = registry.require("plain")
    assert (spec.kind, spec.accepts, spec.description) == (HandlerKind.TRANSACTIONAL, ("a.b",), "Does nothing.")
    agent("slow", concurrency=3, rate=0.5, timeout=60)(handle_async)
    spec = registry.require("slow")
    assert (spec.kind, spec.concurrency, spec.rate, spec.timeout) == (HandlerKind.LEASED, 3, 0.5, 60)


def test_registering_the_same_again_is_harmless_and_another_under_the_name_is_not() -> None:
    agent("one")(handle)
    agent("one")(handle)
    with pytest.raises(ConfigurationError, match="'one' is registered twice"):
        agent("one")(handle_async)


def one_parameter(message: Envelope) -> None: ...
def three(message: Envelope, context: HandlerContext, more: int) -> None: ...
def keyword_only(message: Envelope, *, context: HandlerContext) -> None: ...


@pytest.mark.parametrize("function", [one_parameter, three, keyword_only, lambda: None])
def test_a_wrong_signature_is_refused_and_named(function: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"Agent 'wrong'.*handler\(message, context\)"):
        agent("wrong")(function)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": "Upper"}, "a-z"),
        ({"name": ""}, "name"),
        ({"accepts": "audit.file"}, r"Write \['audit.file'\]"),
        ({"accepts": ["no spaces"]}, "no message type"),
        ({"concurrency": 0, "kind": HandlerKind.LEASED}, "concurrency .or None. is 0"),
        ({"rate": -1.0, "kind": HandlerKind.LEASED}, "rate .or None. is -1.0"),
        ({"timeout": float("nan"), "kind": HandlerKind.LEASED}, "timeout .or None. is nan"),
        ({"concurrency": 2}, "make it leased"),
        ({"timeout": 2}, "make it leased"),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        agent(**{"name": "agent", **settings})(handle)


def test_an_async_handler_cannot_be_transactional() -> None:
    with pytest.raises(ConfigurationError, match="Make the agent leased"):
        agent("mixed", kind=HandlerKind.TRANSACTIONAL)(handle_async)


def test_a_handler_must_be_callable() -> None:
    with pytest.raises(ConfigurationError, match="is not callable"):
        AgentSpec(name="nothing", handler="handle")  # type: ignore[arg-type]


def test_the_decorator_without_a_name_says_how_it_is_written() -> None:
    with pytest.raises(ConfigurationError, match='write @agent\\("name"\\)'):
        agent(handle)  # type: ignore[arg-type]


def test_an_unknown_name_says_which_one_is_meant() -> None:
    agent("critic")(handle)
    with pytest.raises(ConfigurationError, match=r"No agent is named 'critik'\. Did you mean 'critic'\?"):
        registry.require("critik")


class Critic(BaseAgent):
    """Criticises."""

    accepts = ("draft.*",)
    timeout = 30.0

    async def handle(self, message: Envelope, context: HandlerContext) -> None: ...


def test_a_class_is_an_agent_with_its_own_defaults() -> None:
    critic = Critic("critic", partners=["writer"], timeout=5).register()
    spec = registry.require("critic")
    assert spec is critic.spec
    assert (spec.kind, spec.accepts, spec.timeout) == (HandlerKind.LEASED, ("draft.*",), 5)
    assert (spec.partners, spec.description) == (("writer",), "Criticises.")
    critic.register()
    with pytest.raises(ConfigurationError, match="registered twice"):
        Critic("critic").register()
    assert Critic("other").spec.timeout == 30.0


def test_a_setting_that_does_not_exist_is_named() -> None:
    with pytest.raises(TypeError, match=r"no setting 'concurency'; there are accepts, kind"):
        Critic("critic", concurency=3)


def test_an_agent_without_handle_says_so() -> None:
    with pytest.raises(NotImplementedError, match=r"BaseAgent has no handle"):
        BaseAgent("empty").handle(None, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("accepts", "type", "takes"),
    [
        (None, "anything", True),
        ((), "anything", False),
        (("a",), "a", True),
        (("a",), "a.b", False),
        (("a.*",), "a.b", True),
        (("a.*",), "a.b.c", True),
        (("a.*",), "a", False),
        (("a.*",), "ab.c", False),
    ],
)
def test_what_accepts_takes(accepts: tuple[str, ...] | None, type: str, takes: bool) -> None:
    assert AgentSpec(name="agent", handler=handle, accepts=accepts).takes(type) is takes


def test_accepted_types_may_have_models() -> None:
    agent("typed", accepts={"order.placed": dict, "order.placed:2": list, "note": str})(handle)
    spec = registry.require("typed")
    assert spec.accepts == ("order.placed", "note")
    assert spec.models == {"order.placed": dict, "order.placed:2": list, "note": str}
    assert registry.require("typed").takes("note")
