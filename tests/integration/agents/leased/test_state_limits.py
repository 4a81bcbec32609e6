"""What planners and people's proxies keep fits into their state, however long it is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agents.kinds import PlannerAgent, UserProxyAgent
from agents.kinds.executor import Step
from agents.kinds.text import MIN_BYTES, fit
from messaging.api import Envelope, HandlerContext
from messaging.models import DeadLetter
from tests.integration.agents.leased.test_leased_turns import Add, add, replies, settle
from tests.support.lab import Lab

__all__ = ["add"]

LONG = ["x" * 200_000, "好" * 60_000, {"text": "好" * 60_000}, list(range(40_000))]


@pytest.mark.parametrize("long", LONG, ids=["letters", "Chinese", "object", "numbers"])
def test_a_person_may_be_asked_many_long_questions(lab: Lab, add: Add, long: Any) -> None:
    boss = UserProxyAgent("boss")
    add(boss)
    workflow = lab.workflow()
    short = lab.send(workflow, "boss", {"text": "short"})
    asked = [lab.send(workflow, "boss", long) for _ in range(7)]
    settle(lab)
    waiting = boss.questions(workflow)
    assert [question.id for question in waiting] == [short, *asked]
    assert waiting[0].data == {"text": "short"}
    boss.answer(lab.bus, workflow, asked[-1], "yes")
    settle(lab)
    assert replies("boss") == ["yes"]
    assert not DeadLetter.objects.exists()


@pytest.mark.parametrize("long", LONG, ids=["letters", "Chinese", "object", "numbers"])
def test_a_plan_may_have_long_results(lab: Lab, add: Add, long: Any) -> None:
    def do(message: Envelope, context: HandlerContext) -> None:
        context.reply({"result": long if message.data["arguments"] else "short"})

    steps = [Step("work", {"long": True})] * 8 + [Step("work", {})]
    lab.agent("hand", do, leased=True)
    add(PlannerAgent("head", lambda goal: steps, executor="hand"))
    lab.bus.send(lab.workflow(), "head", "plan.goal", {"text": "y" * 200_000}, sender="web")
    settle(lab)
    (report,) = replies("head")
    assert report["done"] is True
    assert len(report["results"]) == 9
    assert report["results"][-1] == "short"


def test_a_planner_with_too_many_goals_says_so(lab: Lab, add: Add) -> None:
    lab.agent("hand", leased=True)  # never answers
    add(PlannerAgent("head", lambda goal: [Step("work", {})], executor="hand"))
    workflow = lab.workflow()
    for _ in range(3):
        lab.bus.send(workflow, "head", "plan.goal", {"text": "y" * 150_000}, sender="web")
    settle(lab)
    (report,) = replies("head")
    assert report["done"] is False
    assert "no room" in report["error"]


@pytest.mark.parametrize("most", [3_000, 50_000])
def test_only_the_longest_values_are_cut(most: int) -> None:
    values = ["a" * 40_000, {"b": "c" * 20_000}, 1, "short"]
    kept = fit(values, most)
    assert kept[2:] == [1, "short"]
    assert sum(len(msgspec.json.encode(value)) for value in kept) <= most + 2 * MIN_BYTES
