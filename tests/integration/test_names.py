"""Agents and groups share their names: a clash is refused where it is made, and seen where it could not be."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.checks import CheckMessage, run_checks

from messaging.api import AgentSpec, CommunicationBus, NameTaken, registry
from messaging.models import Agent, AgentGroup, Delivery
from tests.support.lab import Lab


def warnings() -> list[CheckMessage]:
    return [
        found for found in run_checks(tags=["nexus_tables"], include_deployment_checks=True) if not found.is_serious()
    ]


@pytest.fixture
def late() -> Iterator[AgentSpec]:
    """An agent that a worker brings along; it is not registered yet."""
    yield AgentSpec(name="late", handler=lambda message, context: None)
    registry.remove("late")


def test_a_worker_starts_although_a_group_has_an_agents_name(lab: Lab, late: AgentSpec) -> None:
    lab.agent("other")
    lab.bus.create_group("late", ["other"])
    assert warnings() == []
    registry.register(late)
    (clash,) = warnings()
    assert clash.id == "nexus.W007"
    assert "both named 'late'" in clash.msg
    assert "Delete the group" in str(clash.hint)
    lab.restart_consumer()
    lab.work(1)
    assert Agent.objects.get(name="late").kind == "transactional"
    message = lab.send(lab.workflow(), "late")
    lab.settle()
    delivery = Delivery.objects.get(message=message)
    assert (delivery.agent, delivery.state) == ("late", "processed"), "the agent wins"
    AgentGroup.objects.get(name="late").delete()
    assert warnings() == []


@pytest.mark.parametrize("durable", [True, False])
def test_a_clash_is_refused_where_it_is_made(lab: Lab, durable: bool) -> None:
    bus: CommunicationBus = lab.bus if durable else CommunicationBus()
    bus.register_agent("ann", lambda message, context: None)
    bus.register_agent("reader")
    bus.create_group("crew")
    try:
        for name in ("ann", "reader"):
            with pytest.raises(NameTaken, match=f"'{name}' is an agent's name already"):
                bus.create_group(name)
        with pytest.raises(NameTaken, match="'crew' is a group's name already"):
            bus.register_agent("crew", lambda message, context: None)
        assert registry.get("crew") is None, "what was refused is not half there"
        with pytest.raises(NameTaken, match="'crew' is a group's name already"):
            bus.register_agent("crew")
        with pytest.raises(NameTaken, match="registered twice"):
            bus.register_agent("ann", lambda message, context: 1)
    finally:
        registry.remove("ann")
        registry.remove("crew")
