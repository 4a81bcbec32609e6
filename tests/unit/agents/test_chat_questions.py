"""Members that ask each other, and circles of members that wait for each other."""

from __future__ import annotations

from typing import Any

import pytest

from agents.api import Limits, MaxRounds, Parallel, Question, Reply, Turn
from agents.chat.rules.definitions import OnDeadlock
from tests.unit.agents.chats import echo, manager_of, pairs, run, team


def ask(to: str) -> Any:
    """Asks ``to`` and then says what it was told."""

    def speak(turn: Turn) -> Reply:
        if turn.prompt or any(said.kind == "question" and said.speaker == turn.speaker for said in turn.messages):
            return Reply(content=f"{turn.speaker} knows {turn.last}")
        return Reply(ask=Question(to, f"{turn.speaker}?"))

    return speak


def test_a_question_is_answered_before_the_turn_ends() -> None:
    assert pairs(manager_of(a=ask("b"), b=echo), team("a", "b", termination=MaxRounds(1))) == [
        ("user", "go"),
        ("a", "a?"),
        ("b", "b:a?"),
        ("a", "a knows b:a?"),
    ]


@pytest.mark.parametrize("to", ["nobody", "a"])
def test_a_question_that_cannot_be_put_is_answered_so(to: str) -> None:
    result = run(manager_of(a=ask(to), b=echo), team("a", "b", termination=MaxRounds(1)))
    assert result.transcript[-1].content == f"a knows {to!r} cannot be asked. You can ask b."


def test_who_asks_for_ever_is_stopped() -> None:
    manager = manager_of(a=lambda turn: Reply(ask=Question("b", "again?")), b=echo)
    result = run(manager, team("a", "b", termination=MaxRounds(1), limits=Limits(questions=2)))
    assert sum(said.kind == "question" for said in result.transcript) == 3
    assert result.transcript[-1].content == "again?"


def test_who_waits_for_an_answer_is_asked_nothing_until_it_has_it() -> None:
    asked: list[str] = []

    def speak(turn: Turn) -> Reply:
        if turn.prompt:
            asked.append(f"{turn.speaker} asked: {turn.prompt}, attempt {turn.attempt}")
            return Reply(content=f"{turn.speaker} answers")
        answered = [said.speaker for said in turn.messages if said.kind == "question"]
        if turn.speaker in answered or turn.speaker == "c":
            return Reply(content=f"{turn.speaker} says")
        return Reply(ask=Question({"b": "c", "a": "b"}[turn.speaker], f"{turn.speaker}?"))

    definition = team("b", "a", "c", selection=Parallel(), termination=MaxRounds(1))
    result = run(manager_of(a=speak, b=speak, c=speak), definition)
    assert asked == ["c asked: b?, attempt 1", "b asked: a?, attempt 1"]
    assert [said.content for said in result.transcript[1:]] == [
        "b?", "a?", "c answers", "b answers", "b says", "a says", "c says",
    ]  # fmt: skip


CIRCLE = {
    OnDeadlock.REFUSE: "Deadlock avoided (b → a → b): b does not ask a.",
    OnDeadlock.WITHDRAW_OLDEST: "Deadlock avoided (b → a → b): a does not wait for b any longer.",
}


@pytest.mark.parametrize("policy", CIRCLE)
def test_two_members_that_wait_for_each_other_are_found_and_helped(policy: OnDeadlock) -> None:
    definition = team("a", "b", selection=Parallel(), termination=MaxRounds(1), limits=Limits(on_deadlock=policy))
    result = run(manager_of(a=ask("b"), b=ask("a")), definition)
    notices = [said.content for said in result.transcript if said.speaker == "chat"]
    assert notices == [CIRCLE[policy]]
    assert result.reason == "1 rounds"
    assert {said.speaker for said in result.transcript if said.kind == "said"} == {"a", "b"}


def test_a_deadlock_can_end_the_chat() -> None:
    limits = Limits(on_deadlock=OnDeadlock.END)
    definition = team("a", "b", "c", selection=Parallel(), limits=limits)
    result = run(manager_of(a=ask("b"), b=ask("c"), c=ask("a")), definition)
    assert result.reason == "deadlock: c → a → b → c"
