"""A turn fits into a message whatever was said; a team that does not say when it ends, ends all the same."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.api import ByModel, Limits, MaxRounds, Member, NexusGroupChatManager, Reply, TeamDefinition, Turn, Usage
from agents.chat.engine.state import ChatState, Status
from agents.chat.engine.step import ChatStep
from agents.chat.rules.definitions import DEFAULT_TURNS
from agents.chat.rules.schema import read_team
from tests.unit.agents.chats import echo, manager_of, members, run, team


@pytest.mark.usefixtures("raw_content")
@pytest.mark.parametrize("letter", ["x", "好", "\x00", '"', "\\", "😀"])
@pytest.mark.parametrize("length", [30_000, 80_000])
def test_long_words_in_any_script_do_not_stop_a_chat(letter: str, length: int) -> None:
    length = min(length, 240_000 // len(msgspec.json.encode(letter)[1:-1]))
    said = letter * length
    heard: list[Turn] = []

    def speak(turn: Turn) -> str:
        heard.append(turn)
        return said

    chat = run(manager_of(a=speak, b=speak), team("a", "b", termination=MaxRounds(6)), task=said)
    assert (chat.status, chat.rounds) == ("ended", 6)
    assert all(entry.content == said for entry in chat.transcript)
    assert all(turn.messages for turn in heard), "the last entry is cut rather than left out"


def test_a_long_task_reaches_sub_chats_and_selectors_too() -> None:
    inner = TeamDefinition(name="inner", members=members("b"), termination=MaxRounds(1))
    outer = TeamDefinition(
        name="outer",
        members=(Member(name="a"), Member(name="crew", team=inner)),
        selection=ByModel("chooser"),
        termination=MaxRounds(3),
    )
    long = "好" * 60_000
    result = run(
        manager_of(a=lambda turn: long, b=lambda turn: long, chooser=["a", "crew", "a"]), outer, task="t" * 200_000
    )
    assert (result.status, result.rounds) == ("ended", 3)


TEXTS = st.text(max_size=50) | st.builds(
    lambda letter, count: letter * count, st.characters(codec="utf-8"), st.integers(0, 9_000)
)


@settings(max_examples=60)
@given(TEXTS, st.lists(TEXTS, max_size=4), st.lists(TEXTS, min_size=1, max_size=5), st.integers(6_000, 60_000))
def test_every_turn_fits(task: str, spoken: list[str], descriptions: list[str], most: int) -> None:
    definition = TeamDefinition(
        name="t",
        members=tuple(Member(name=f"m{number}", description=text) for number, text in enumerate(descriptions)),
    )
    state, history = ChatState(), {"": []}  # type: ignore[var-annotated]
    step = ChatStep(definition, state, history, 1.0, max_message_bytes=most)
    step.start(task)
    for text in spoken:
        speaker = state.waits[0].speaker
        step.said(speaker, {"content": text, "turn": state.waits[0].turn})
    sizes = [len(msgspec.json.encode(data)) for _, _, data in step.effects.sends]
    assert max(sizes) <= most - 1_000


# --- limits that need no termination ---


def usage(turn: Turn) -> Reply:
    return Reply(content="word", usage=Usage(300_000, 0))


def test_a_team_without_termination_ends_after_a_sane_number_of_turns() -> None:
    result = run(manager_of(a=echo), TeamDefinition(name="t", members=members("a")))
    assert result.rounds == DEFAULT_TURNS == 50
    assert "no termination" in result.reason
    assert "limits.max_turns" in result.reason


@pytest.mark.parametrize(
    ("limits", "termination", "rounds", "reason"),
    [
        (Limits(max_turns=3), None, 3, "limits.max_turns"),
        (Limits(max_turns=3), MaxRounds(9), 3, "limits.max_turns"),
        (Limits(max_turns=70), None, 70, "limits.max_turns"),
        (Limits(), MaxRounds(60), 60, "60 rounds"),
        (Limits(max_turns=60, max_messages=10), None, 9, "limits.max_messages"),
    ],
)
def test_turns(limits: Limits, termination: Any, rounds: int, reason: str) -> None:
    definition = TeamDefinition(name="t", members=members("a"), limits=limits, termination=termination)
    result = run(manager_of(a=echo), definition)
    assert result.rounds == rounds
    assert reason in result.reason


def test_a_budget_of_tokens_is_there_unless_it_is_lifted_knowingly() -> None:
    definition = TeamDefinition(name="t", members=members("a"), termination=MaxRounds(9))
    ended = run(manager_of(a=usage), definition)
    assert (ended.rounds, ended.reason) == (4, "1200000 of 1000000 tokens used (limits.max_tokens)")
    lifted = read_team({**definition.to_data(), "limits": {"max_tokens": None}})
    assert lifted.limits.max_tokens is None
    assert read_team(lifted.to_data()) == lifted
    assert run(manager_of(a=usage), lifted).rounds == 9


def test_the_tokens_of_a_sub_chat_count() -> None:
    inner = TeamDefinition(name="inner", members=members("a"), termination=MaxRounds(9))
    outer = TeamDefinition(
        name="outer",
        members=(Member(name="crew", team=inner),),
        limits=Limits(max_tokens=500_000),
        termination=MaxRounds(5),
    )
    assert run(manager_of(a=usage), outer).reason == "600000 of 500000 tokens used (limits.max_tokens)"


# --- what a chat waits for ---


def test_a_chat_that_waits_for_a_person_says_so() -> None:
    manager: NexusGroupChatManager = manager_of(a=echo)
    asks = TeamDefinition(name="t", members=(Member(name="boss", human=True),), termination=MaxRounds(1))
    chat = manager.start_chat(asks, "go")
    assert (manager.view(chat).status, manager.view(chat).standing) == (Status.RUNNING, "waiting for a person")
    manager.answer_approval(manager.pending_approvals(chat)[0].id, text="yes")
    assert manager.view(chat).standing == "ended"
    manager.pause(paused := manager.start_chat(asks, "go"))
    assert manager.view(paused).standing == "paused"
