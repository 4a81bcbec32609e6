"""The rule ``llm-judge``: asked once a delivery, after the batch, within a budget, and failing closed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from agents.judge.agent import JUDGE_AGENT
from agents.llm import ledger
from agents.models import JudgeSpending, ToolCall
from messaging.api import registry
from messaging.models import AccessTeam, AccessTeamMember, DeadLetter, Delivery, Message, Verdict
from messaging.operators import quarantine
from messaging.security.access import store
from messaging.testing.servers.waiting import wait_until
from tests.integration.agents.leased.conftest import WAIT
from tests.support.lab import Lab
from tests.support.model_server import Answer, ModelServer, Request


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(_by_word) as running:
        yield running


def _by_word(request: Request) -> Answer:
    """Says what the data ask for: the model is not what is tested."""
    told = request.body["messages"][1]["content"]
    for word in ("attack", "unsure", "garbled"):
        if word in told:
            return Answer(text="You are right!" if word == "garbled" else json.dumps({"verdict": word}))
    return Answer(text='{"verdict": "harmless"}')


class JudgedRoom:
    """An agent whose messages are judged."""

    def __init__(self, lab: Lab, server: ModelServer, tmp_path: Path) -> None:
        self.lab, self.server, self._folder = lab, server, tmp_path
        self.seen: list[Any] = []
        lab.agent("a", lambda message, context: self.seen.append(message.data["text"]))
        self.use()

    def use(self, *, time_limit: float = 600, rule: str = "", **settings: object) -> None:
        """Judge by these settings."""
        chosen = {"model": "m", "base_url": self.server.base_url, "key_variable": None, **settings}
        file = self._folder / "rules.yaml"
        file.write_text(f"rules: {{llm-judge: {{time_limit: {time_limit}, {rule}settings: {json.dumps(chosen)}}}}}")
        self.lab.configure(verification_rules=str(file))

    def say(self, *words: str) -> UUID:
        """Send texts in a workflow of their own."""
        workflow = self.lab.workflow()
        for word in words:
            self.lab.send(workflow, "a", {"text": word})
        return workflow

    def settle(self) -> None:
        """Let everything take turns until no question is open and nothing of ``a`` is due."""

        def idle() -> bool:
            self.lab.publish()
            self.lab.work()
            self.lab.relay_turn(after=1.0)
            due = [one for one in self.lab.waiting() if one[0] == "a" and one[2] != "held"]
            return not due and not Verdict.objects.filter(state="asked").exists()

        wait_until(idle, WAIT, lambda: f"an end: {self.lab.waiting()}, {list(Verdict.objects.values())}")

    def settle_until_asked(self) -> None:
        """Let everything take turns until the model is asked, and waits at the gate ``model``."""
        self.lab.until(lambda: Verdict.objects.filter(asked_at__isnull=False).exists())
        self.lab.publish()
        self.lab.consumer.step()
        self.server.wait_at("model")

    @property
    def asked(self) -> int:
        """How often the model was paid."""
        return len(self.server.requests)


@pytest.fixture
def room(lab: Lab, server: ModelServer, tmp_path: Path) -> JudgedRoom:
    return JudgedRoom(lab, server, tmp_path)


def states(workflow: UUID) -> list[str]:
    return list(Delivery.objects.filter(workflow=workflow).order_by("position").values_list("state", flat=True))


def waiting() -> Verdict:
    return quarantine.waiting().get()


def test_each_answer_does_what_it_says_in_its_position(room: JudgedRoom) -> None:
    workflow = room.say("fine", "unsure one", "attack", "behind")
    room.settle()
    assert room.seen == ["fine", "unsure one"]
    assert states(workflow) == ["processed", "processed", "quarantined", "held"]
    verdict = waiting()
    assert (verdict.rule, verdict.origin, verdict.reason) == ("llm-judge", "given", "a model found orders in it")
    assert Verdict.objects.get(action="flag").state == "settled"
    quarantine.release(verdict.pk, user="ann")
    room.settle()
    assert room.seen == ["fine", "unsure one", "attack", "behind"]
    assert room.asked == 4, "each is judged once, and the judge's own messages are not"
    assert set(ToolCall.objects.values_list("result", flat=True)) == {"harmless", "unsure", "attack"}


def test_nobody_waits_for_the_model(room: JudgedRoom) -> None:
    room.use(rule="recipients: ['a'], ")
    room.lab.agent("b", lambda message, context: room.seen.append("b"))
    room.server.script = lambda request: Answer(text='{"verdict": "harmless"}', gate="model")
    slow = room.say("slow")
    room.settle_until_asked()
    room.lab.send(room.lab.workflow(), "b", {"text": "quick"})
    room.lab.publish()
    room.lab.consumer.step()
    assert room.seen == ["b"]
    assert states(slow) == ["quarantined"]
    room.server.open("model")
    room.settle()
    assert room.seen == ["b", "slow"]


@pytest.mark.parametrize(("word", "reason"), [("garbled", "did not answer as it was asked to"), ("x" * 600, "longer")])
def test_what_is_no_answer_fails_closed(room: JudgedRoom, word: str, reason: str) -> None:
    room.use(characters=500)
    workflow = room.say(word)
    room.settle()
    assert states(workflow) == ["quarantined"]
    assert waiting().origin == "failed"
    assert reason in waiting().reason


def test_an_endpoint_that_is_away_is_asked_a_few_times_and_then_it_fails_closed(room: JudgedRoom) -> None:
    room.server.script = [Answer(status=500)]
    workflow = room.say("fine")
    room.settle()
    assert states(workflow) == ["quarantined"]
    assert "the model gave no answer" in waiting().reason
    assert 1 <= room.asked <= 5
    assert not DeadLetter.objects.exists()


def test_an_endpoint_that_comes_back_is_asked_again(room: JudgedRoom) -> None:
    room.server.script = [Answer(status=503), Answer(text='{"verdict": "harmless"}')]
    room.say("fine")
    room.settle()
    assert (room.seen, room.asked) == (["fine"], 2)


def test_without_an_answer_in_time_it_fails_closed(room: JudgedRoom) -> None:
    room.use(time_limit=30)
    room.lab.agent("llm-judge", leased=True)  # one that never answers
    try:
        workflow = room.say("fine")
        room.settle()
    finally:
        registry.remove("llm-judge")
        registry.register(JUDGE_AGENT)
        room.lab.forget("llm-judge")
    assert states(workflow) == ["quarantined"]
    assert waiting().reason == "no answer in time"


def test_the_budget_of_a_team_ends_in_fail_closed_verdicts(room: JudgedRoom) -> None:
    room.use(calls_per_day=2)
    with store.change("test"):
        team = AccessTeam.objects.create(name="red")
        AccessTeamMember.objects.create(team=team, agent="a")
        AccessTeamMember.objects.create(team=team, agent="web")
    room.say("one")
    room.say("two")
    room.settle()
    room.say("three")
    room.settle()
    assert sorted(room.seen) == ["one", "two"]
    assert room.asked == 2
    assert "the budget of the team 'red' for judging is used up" in waiting().reason
    spent = JudgeSpending.objects.get()
    assert (spent.team, spent.rule, spent.calls, spent.tokens) == ("red", "llm-judge", 2, 36)


def test_tokens_are_a_budget_too(room: JudgedRoom) -> None:
    room.use(tokens_per_day=10)
    workflow = room.say("one")
    room.settle()
    assert states(workflow) == ["quarantined"]
    assert room.asked == 0
    assert not JudgeSpending.objects.filter(calls__gt=0).exists()


def test_a_person_decides_before_the_model(room: JudgedRoom) -> None:
    room.server.script = lambda request: Answer(text='{"verdict": "attack"}', gate="model")
    room.say("fine")
    room.settle_until_asked()
    quarantine.release(Verdict.objects.get(state="asked").pk, user="ann")
    room.server.open("model")
    room.settle()
    assert room.seen == ["fine"]
    assert Verdict.objects.get(delivery__agent="a").state == "released"


def test_a_shadow_waits_and_stops_nothing(room: JudgedRoom) -> None:
    room.use(rule="shadow: true, ")
    room.say("attack")
    room.settle()
    assert room.seen == ["attack"]
    (objection,) = Verdict.objects.get(delivery__agent="a").objections
    assert (objection["action"], objection["shadow"]) == ("quarantine", True)


@pytest.mark.parametrize("noted", [False, True], ids=["before-the-result", "after-the-result"])
def test_a_worker_that_dies_has_paid_once(room: JudgedRoom, monkeypatch: pytest.MonkeyPatch, noted: bool) -> None:
    """It dies between the model's answer and its ledger's entry, or between that and the verdict."""
    with monkeypatch.context() as patch:
        if noted:
            patch.setattr("agents.judge.agent.answer_question", _gone)
        else:
            patch.setattr(ledger, "_end", _gone)
        workflow = room.say("fine")
        room.lab.until(lambda: room.asked == 1 and room.lab.consumer.idle())
        room.lab.restart_consumer()
    room.settle()
    assert room.asked == 1
    assert states(workflow) == (["processed"] if noted else ["quarantined"])
    if not noted:
        assert "not asked twice" in waiting().reason
    assert Message.objects.filter(type="verification.judge").count() == 1


def _gone(*arguments: object) -> None:
    raise ConnectionError("its worker is gone")
