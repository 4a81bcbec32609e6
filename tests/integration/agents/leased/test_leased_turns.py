"""Turns of a model with tools, interrupted in their middle: nothing that was finished is done again."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest

from agents.api import AssistantAgent, BaseAgent, ChatMessage, Completion, ScriptedClient, Tool, ToolRequest
from agents.kinds import ExecutorAgent, PlannerAgent, UserProxyAgent
from agents.kinds.planner import plan_with
from agents.llm.ledger import INTERRUPTED
from agents.models import ToolCall
from messaging.api import RetryPolicy, TerminalError, registry
from messaging.core.errors import SchemaViolation
from messaging.directory.names import save_registered_agents
from messaging.models import AgentState, DeadLetter, Delivery, Message
from messaging.testing.servers.waiting import wait_until
from tests.integration.agents.leased.conftest import WAIT
from tests.support.lab import Lab

Add = Callable[[BaseAgent], None]
QUICKLY = RetryPolicy(max_attempts=3, base=0.01, cap=0.01)


@pytest.fixture
def add(lab: Lab) -> Iterator[Add]:
    """Registers ready-made agents, and forgets them at the end."""
    added: list[str] = []

    def one(agent: BaseAgent) -> None:
        agent.register()
        save_registered_agents()
        added.append(agent.name)

    yield one
    for name in added:
        registry.remove(name)


def settle(lab: Lab) -> None:
    """Let real time pass too: handlers here have timeouts."""

    def idle() -> bool:
        lab.publish()
        lab.work()
        lab.relay_turn(after=0.1)
        return not lab.waiting()

    wait_until(idle, WAIT, lambda: f"everything to be done: {lab.waiting()}")


def replies(agent: str, recipient: str = "web") -> list[Any]:
    found = Message.objects.filter(source=agent, subject=recipient).order_by("sequence")
    return [envelope_data(message) for message in found]


def envelope_data(message: Message) -> Any:
    return json.loads(bytes(message.envelope or b""))["data"]


class Interrupted:
    """A model that calls two tools and reports; the second tool hangs the first time."""

    def __init__(self, *, repeatable: bool) -> None:
        self.called: Counter[str] = Counter()
        self.client = ScriptedClient(self._say)
        self.tools = [Tool(self.pay), Tool(self.hang, repeatable=repeatable)]

    def _say(self, messages: Any) -> Any:
        said = [message for message in messages if message.role == "tool"]
        if not said:
            return ToolRequest("1", "pay", '{"amount": 5}')
        if len(said) == 1:
            return ToolRequest("2", "hang", "{}")
        return " | ".join(message.content for message in said)

    def pay(self, amount: int) -> str:
        self.called["pay"] += 1
        return f"paid {amount}"

    async def hang(self) -> str:
        self.called["hang"] += 1
        if self.called["hang"] == 1:
            await asyncio.sleep(3_600)
        return "held"


@pytest.mark.parametrize("repeatable", [False, True])
def test_an_interrupted_turn_goes_on_and_its_orphaned_call_is_repaired(lab: Lab, add: Add, repeatable: bool) -> None:
    work = Interrupted(repeatable=repeatable)
    add(AssistantAgent("clerk", work.client, tools=work.tools, timeout=0.5, retry=QUICKLY))
    lab.send(lab.workflow(), "clerk", "pay please")
    settle(lab)
    (reply,) = replies("clerk")
    assert reply["calls"] == ["pay", "hang"]
    assert len(work.client.calls) == 3, "each answer of the model was asked for once"
    assert work.called["pay"] == 1, "a finished call is never made again"
    if repeatable:
        assert reply["text"] == "paid 5 | held"
        assert work.called["hang"] == 2
    else:
        assert reply["text"] == f"paid 5 | {INTERRUPTED}"
        assert work.called["hang"] == 1
    statuses = ToolCall.objects.order_by("pk").values_list("tool", "status", "attempts")
    assert list(statuses) == [
        ("pay", "finished", 1),
        ("hang", "finished", 2) if repeatable else ("hang", "repaired", 1),
    ]


def test_what_goes_wrong_in_a_tool_is_told_to_the_model(lab: Lab, add: Add) -> None:
    def broken(x: int) -> str:
        raise RuntimeError("out of paper")

    calls = (ToolRequest("1", "broken", '{"x": 1}'), ToolRequest("2", "broken", "{"), ToolRequest("3", "gone", "{}"))

    def say(messages: Any) -> Any:
        if messages[-1].role == "user":
            return Completion(ChatMessage("assistant", tool_calls=calls))
        return "\n".join(message.content for message in messages[-3:])

    add(AssistantAgent("clerk", ScriptedClient(say), tools=[Tool(broken)], retry=QUICKLY))
    lab.send(lab.workflow(), "clerk", "print")
    settle(lab)
    raised, unreadable, unknown = replies("clerk")[0]["text"].split("\n")
    assert raised == "broken failed: RuntimeError: out of paper"
    assert "arguments of broken do not fit" in unreadable
    assert unknown == "There is no tool 'gone'. There are: broken."


def test_a_model_that_never_stops_calling_tools_is_stopped(lab: Lab, add: Add) -> None:
    client = ScriptedClient(lambda messages: ToolRequest(str(len(messages)), "again", "{}"))

    def again() -> str:
        return "and again"

    add(AssistantAgent("clerk", client, tools=[Tool(again)], max_rounds=3, retry=QUICKLY))
    lab.send(lab.workflow(), "clerk", "go")
    settle(lab)
    assert "still calling tools after 3 answers" in DeadLetter.objects.get().detail
    assert len(client.calls) == 3


def test_an_assistant_remembers_each_workflow_and_forgets_what_is_old(lab: Lab, add: Add) -> None:
    client = ScriptedClient(lambda messages: " ".join(m.content for m in messages if m.role != "system"))
    add(AssistantAgent("echo", client, instructions="repeat", memory=4))
    workflow, other = lab.workflow(), lab.workflow()
    for text in ("a", "b", "c"):
        lab.send(workflow, "echo", {"text": text})
    lab.send(other, "echo", {"text": "z"})
    settle(lab)
    assert sorted(reply["text"] for reply in replies("echo")) == ["a", "a a b", "a a b a a b c", "z"]
    assert all(messages[0] == ChatMessage("system", "repeat") for messages in client.calls)
    kept = json.loads(AgentState.objects.get(workflow_id=workflow, agent="echo").data)["messages"]
    assert [message["role"] for message in kept] == ["user", "assistant", "user", "assistant"]


def test_a_plan_is_executed_step_by_step(lab: Lab, add: Add) -> None:
    done: list[str] = []

    def write(name: str) -> str:
        done.append(name)
        return name.upper()

    async def check(strict: bool = False) -> dict[str, bool]:
        if strict:
            raise ValueError("not good enough")
        return {"fine": True}

    steps = '[{"action": "write", "arguments": {"name": "%s"}}, {"action": "check", "arguments": {"strict": %s}}]'

    def plan(messages: Any) -> str:
        goal = messages[-1].content
        return "```json\n" + steps % (goal, "true" if goal == "poem" else "false") + "\n```"

    add(ExecutorAgent("hand", {"write": write, "check": check}))
    add(PlannerAgent("head", plan_with(ScriptedClient(plan), {"write": "name", "check": "strict"}), executor="hand"))
    workflow = lab.workflow()
    for goal in ("letter", "poem", "song"):
        lab.bus.send(workflow, "head", "plan.goal", goal, sender="web")
    settle(lab)
    assert done == ["letter", "poem", "song"]
    assert replies("head") == [
        {"goal": "letter", "done": True, "results": ["LETTER", {"fine": True}]},
        {"goal": "poem", "done": False, "results": ["POEM"], "error": "ValueError: not good enough"},
        {"goal": "song", "done": True, "results": ["SONG", {"fine": True}]},
    ]


def test_a_plan_that_is_none_is_asked_for_again(lab: Lab, add: Add) -> None:
    answers = iter(["I would rather not.", '[{"action": "fly"}]', '[{"action": "walk"}]'])
    client = ScriptedClient(lambda messages: next(answers))
    add(ExecutorAgent("hand", {"walk": lambda: "walked"}))
    add(PlannerAgent("head", plan_with(client, {"walk": ""}), executor="hand", retry=QUICKLY))
    lab.bus.send(lab.workflow(), "head", "plan.goal", "move", sender="web")
    settle(lab)
    assert replies("head") == [{"goal": "move", "done": True, "results": ["walked"]}]


def test_an_executor_reports_what_it_cannot_do(lab: Lab, add: Add) -> None:
    add(ExecutorAgent("hand", {"walk": lambda: "walked"}))
    workflow = lab.workflow()
    lab.bus.send(workflow, "hand", "plan.step", {"action": "fly"}, sender="web")
    with pytest.raises(SchemaViolation, match="expected the property 'action'"):
        lab.bus.send(workflow, "hand", "plan.step", {"act": "walk"}, sender="web")
    settle(lab)
    assert replies("hand") == [{"error": "hand has no action 'fly'; it has walk."}]


def settle_parked(lab: Lab, workflow: UUID) -> None:
    def buried() -> bool:
        lab.publish()
        lab.work()
        return Delivery.objects.filter(workflow=workflow, state="dead").exists()

    wait_until(buried, WAIT, "the dead letter")


def test_a_person_answers_days_later_and_once(lab: Lab, add: Add) -> None:
    boss = UserProxyAgent("boss")
    add(boss)
    workflow = lab.workflow()
    asked = [lab.send(workflow, "boss", {"text": text}) for text in ("buy?", "sell?")]
    settle(lab)
    waiting = boss.questions(workflow)
    assert [(question.id, question.data["text"]) for question in waiting] == list(
        zip(asked, ["buy?", "sell?"], strict=True)
    )
    lab.restart_consumer()
    lab.clock.advance(3 * 86_400)
    boss.answer(lab.bus, workflow, asked[1], {"text": "no"})
    boss.answer(lab.bus, workflow, asked[1], {"text": "yes, after all"})
    settle(lab)
    assert replies("boss") == [{"text": "no"}]
    assert Message.objects.get(source="boss").correlation_id == asked[1]
    assert [question.id for question in boss.questions(workflow)] == asked[:1]
    with pytest.raises(TerminalError, match="waits for boss"):
        boss.answer(lab.bus, workflow, asked[1], "again")
