"""Agents of other frameworks, whose worker is killed in the middle of their conversations.

All of them are killed together, once: each was asked for the second time and had done half of its work.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

import pytest

from agents.models import ToolCall
from messaging.testing.servers.waiting import wait_until
from tests.integration.agents.processes.conftest import MakeSite
from tests.integration.agents.processes.site import Site
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.whole

AGENTS = "tests.integration.agents.processes.apps.frameworks"
MODULES = {"function": "agents", "pydantic": "pydantic_ai", "langgraph": "langgraph", "autogen": "autogen_agentchat"}


@dataclass
class Conversation:
    """How a conversation went: both answers, and what was counted before and after the kill."""

    first: str
    second: str
    before: dict[str, int]
    after: dict[str, int]


def hold_conversations(site: Site, server: ModelServer) -> dict[str, Conversation]:
    """Ask every agent twice, and kill the worker when each is in the middle of its second answer."""
    frameworks = [name for name, module in MODULES.items() if importlib.util.find_spec(module) is not None]
    workflows = {framework: site.bus.start_workflow(framework) for framework in frameworks}
    firsts = {framework: site.ask(workflows[framework], framework, "first").data["text"] for framework in frameworks}
    sent = {framework: site.send(workflows[framework], framework, "second") for framework in frameworks}
    wait_until(
        lambda: all(server.waiting[framework] == 1 for framework in frameworks),
        30,
        lambda: f"all at their gates: {dict(server.waiting)}, {site.unfinished()}",
    )
    before = dict(server.counts)
    site.worker.kill()
    server.open(*frameworks)
    site.worker.start()
    seconds = {framework: site.reply_to(sent[framework])["text"] for framework in frameworks}
    after = dict(server.counts)

    def of(framework: str, counts: dict[str, int]) -> dict[str, int]:
        return {name: count for name, count in counts.items() if name.startswith(framework)}

    return {
        framework: Conversation(firsts[framework], seconds[framework], of(framework, before), of(framework, after))
        for framework in frameworks
    }


@pytest.fixture(scope="module")
def held() -> dict[str, Conversation]:
    """All conversations, held by the first test that runs."""
    return {}


@pytest.fixture
def conversation(
    request: pytest.FixtureRequest, held: dict[str, Conversation], make_site: MakeSite, server: ModelServer
) -> Conversation:
    """The conversation with the framework that the test is about."""
    framework = str(request.function.__name__).split("_")[1]
    if importlib.util.find_spec(MODULES[framework]) is None:
        pytest.skip(f"{MODULES[framework]} is not installed (requirements-extras.txt)")
    if not held:
        with make_site(AGENTS) as site:
            held.update(hold_conversations(site, server))
            calls = ToolCall.objects.order_by("pk").values_list("tool", "status")
            assert list(calls) == ([] if "pydantic" not in held else LEDGER)
    return held[framework]


LEDGER = [("look", "finished"), ("hold", "finished"), ("look", "finished"), ("hold", "repaired")]


def test_function_repeats_only_the_call_in_flight(conversation: Conversation) -> None:
    assert (conversation.first, conversation.second) == ("first 1", "second 3")
    assert conversation.after == {"function": 3}


def test_pydantic_ai_asks_no_model_and_calls_no_tool_again(conversation: Conversation) -> None:
    assert (conversation.first, conversation.second) == ("1 asked", "2 asked")
    assert conversation.before == {"pydantic-model": 5, "pydantic-look": 2, "pydantic-hold": 2}
    # One answer of the model was left to give; neither the finished tool was called again nor the interrupted one.
    assert conversation.after == {"pydantic-model": 6, "pydantic-look": 2, "pydantic-hold": 2}


def test_langgraph_goes_on_behind_the_last_finished_step(conversation: Conversation) -> None:
    assert (conversation.first, conversation.second) == ("2 before", "5 before")
    assert conversation.before == {"langgraph-plan": 2, "langgraph-write": 1}
    assert conversation.after == {"langgraph-plan": 2, "langgraph-write": 2}


def test_autogen_asks_its_model_nothing_again(conversation: Conversation) -> None:
    assert (conversation.first, conversation.second) == ("1 asked", "2 asked")
    assert conversation.before == {"autogen-model": 3, "autogen-tool": 2}
    # AutoGen's tools have no ledger: the one in flight is repeated.
    assert conversation.after == {"autogen-model": 4, "autogen-tool": 3}
