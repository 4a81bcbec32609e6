"""What a handler returns instead of replying is noticed, an unknown name asked after: the same in both buses."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from messaging.api import CommunicationBus, HandlerKind, UnknownAgent
from messaging.core import returned
from messaging.core.registry import AgentRegistry, AgentSpec
from messaging.models import DeadLetter, Message
from tests.support.lab import Lab


@pytest.fixture(autouse=True)
def nobody_was_warned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(returned, "_warned", set())


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno == logging.WARNING]


async def answers_later(message: Any, context: Any) -> Any:
    return message.data


HANDLERS: dict[str, tuple[Callable[..., Any], HandlerKind]] = {
    "transactional": (lambda message, context: message.data, HandlerKind.TRANSACTIONAL),
    "leased": (lambda message, context: message.data, HandlerKind.LEASED),
    "async": (answers_later, HandlerKind.LEASED),
}


@pytest.mark.parametrize("how", HANDLERS)
def test_a_returned_value_is_named_once_and_dropped(lab: Lab, how: str, caplog: pytest.LogCaptureFixture) -> None:
    handler, kind = HANDLERS[how]
    lab.bus.register_agent(f"forgetful-{how}", handler, kind=kind)
    workflow = lab.workflow()
    for data in ({"fine": True}, {"fine": False}):
        lab.send(workflow, f"forgetful-{how}", data)
    lab.settle()
    (warning,) = warnings(caplog)
    assert f"forgetful-{how} returned {{'fine': True}}, which is dropped" in warning
    assert "context.reply(value)" in warning
    assert Message.objects.count() == 2
    lab.unregister(f"forgetful-{how}")

    returned._warned.clear()
    caplog.clear()
    bus = CommunicationBus()
    bus.register_agent("forgetful", handler, kind=kind)
    bus.register_agent("desk")
    workflow = bus.start_workflow("w")
    for number in (1, 2):
        bus.send(workflow, "forgetful", "t", number, sender="desk")
    assert len(warnings(caplog)) == 1


def test_nothing_is_said_of_nothing(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab.agent("quiet", lambda message, context: None)
    lab.send(lab.workflow(), "quiet")
    lab.settle()
    assert warnings(caplog) == []


@pytest.mark.parametrize("kind", ["durable", "in process"])
@pytest.mark.parametrize(("typed", "meant"), [("biling", "billing"), ("billings", "billing"), ("crews", "crew")])
def test_an_unknown_name_says_which_one_is_meant(lab: Lab, kind: str, typed: str, meant: str) -> None:
    bus = lab.bus if kind == "durable" else CommunicationBus()
    lab.agent("billing") if kind == "durable" else bus.register_agent("billing", lambda message, context: None)
    bus.register_agent("desk")
    bus.create_group("crew")
    with pytest.raises(UnknownAgent, match=rf"Did you mean '{meant}'\?"):
        bus.send(bus.start_workflow("w"), typed, "t", None, sender="desk")


def test_a_type_that_is_not_accepted_says_which_one_is_meant(lab: Lab) -> None:
    from agents import agent
    from messaging.api import registry

    agent("orders", accepts=["order.placed", "order.paid"])(lambda message, context: None)
    lab.bus.send(lab.workflow(), "orders", "order.place", None, sender="web")
    lab.settle()
    registry.remove("orders")
    assert "Did you mean 'order.placed'?" in DeadLetter.objects.get().detail


def test_agents_are_put_back_as_they_were() -> None:
    """What the pytest plugin does behind each test."""
    registry = AgentRegistry()
    own = AgentSpec(name="own", handler=lambda message, context: None)
    registry.register(own)
    before = tuple(registry)
    registry.remove("own")
    registry.register(AgentSpec(name="own", handler=lambda message, context: "cast"))
    registry.register(AgentSpec(name="new", handler=lambda message, context: None))
    registry.put_back(before)
    assert registry.get("own") is own
    assert registry.get("new") is not None
