"""Every selector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest

from agents.api import (
    ByCapability,
    ByFunction,
    ByHandoff,
    ByModel,
    Entry,
    MaxRounds,
    Member,
    Parallel,
    RandomSpeaker,
    Reply,
    RoundRobin,
    TeamDefinition,
    Turn,
    chat_function,
)
from agents.chat.rules.schema import read_team
from agents.chat.rules.speakers import Candidate, Choosing, Selector, Speak, find_name
from tests.unit.agents.chats import echo, manager_of, members, run, silent


def speakers(selection: Selector, rounds: int, replies: Mapping[str, Sequence[str | Reply]]) -> list[str]:
    team = TeamDefinition(name="t", members=members(*replies), selection=selection, termination=MaxRounds(rounds))
    return [
        said.speaker
        for said in run(manager_of(**{name: list(said) for name, said in replies.items()}), team).transcript[1:]
    ]


LINES = {name: [f"{name}{n}" for n in range(9)] for name in "abc"}


def test_round_robin_follows_the_definition() -> None:
    assert speakers(RoundRobin(), 6, LINES) == list("abcabc")


def test_random_is_the_same_for_the_same_seed_and_never_twice_in_a_row() -> None:
    first = speakers(RandomSpeaker(seed=3), 9, LINES)
    assert first == speakers(RandomSpeaker(seed=3), 9, LINES)
    assert first != speakers(RandomSpeaker(seed=4), 9, LINES)
    assert all(one != other for one, other in pairwise(first))
    assert set(first) == set("abc")


def test_a_handoff_decides_and_without_one_the_speaker_goes_on() -> None:
    order = speakers(
        ByHandoff(first="b"),
        4,
        {
            "a": [Reply(content="1", handoff="c")],
            "b": [Reply(content="2"), Reply(content="3", handoff="a")],
            "c": ["4"],
        },
    )
    assert order == ["b", "b", "a", "c"]


def test_a_handoff_to_somebody_who_is_not_allowed_is_not_followed() -> None:
    view = Choosing(
        members=(Candidate("a", handoffs=("b",)), Candidate("b"), Candidate("c")),
        last=Entry(number=1, speaker="a", content="", handoff="c"),
    )
    choice = ByHandoff().choose(view)
    assert isinstance(choice, Speak)
    assert (choice.names, choice.note) == (("a",), "a handed over to 'c', to whom it may not; possible: b. a goes on.")


def test_capability_goes_by_need_then_by_words_then_by_silence() -> None:
    candidates = (
        Candidate("tax", capabilities=("tax", "invoices")),
        Candidate("law", capabilities=("contracts", "tax")),
        Candidate("art", capabilities=("logo design",)),
    )

    def chosen(content: str, *needs: str, **turns: int) -> tuple[str, ...]:
        said = Entry(number=1, speaker="user", content=content, needs=needs)
        choice = ByCapability().choose(Choosing(members=candidates, messages=[said], last=said, last_turns=turns))
        assert isinstance(choice, Speak)
        return choice.names

    assert chosen("A new logo, a design for us") == ("art",)
    assert chosen("who knows tax?", tax=5, law=3) == ("law",)
    assert chosen("logo design", "contracts") == ("law",)
    assert chosen("something else") == ("tax",)


def test_a_model_chooses_and_nonsense_falls_back_to_the_order() -> None:
    said: list[str | Reply] = ["c", "I think **b** should speak.", "nobody", "a or b"]
    team = TeamDefinition(
        name="t", members=members("a", "b", "c"), selection=ByModel("chooser"), termination=MaxRounds(4)
    )
    result = run(manager_of(a=echo, b=echo, c=echo, chooser=said), team)
    assert [item.speaker for item in result.transcript[1:]] == ["c", "b", "chat", "c", "chat", "a"]
    told = [item.content for item in result.transcript if item.speaker == "chat"]
    assert told[0] == "The selector named nobody of a, c: 'nobody'. The next in order speaks."


@pytest.mark.parametrize(
    ("handoff", "speaker", "note", "remark"),
    [
        ("critic", "critic", "", ""),
        ("**Critic**", "critic", "", "handed over to '**Critic**', taken as 'critic'"),
        ("The Critic", "critic", "", "taken as 'critic'"),
        ("Travel Planner", "travel-planner", "", "taken as 'travel-planner'"),
        ("nobody", "a", "a handed over to 'nobody', who is no member", ""),
        ("a or critic", "a", "who is no member", ""),
        (None, "a", "", ""),
    ],
)
def test_a_handoff_is_understood_or_noticed(handoff: str | None, speaker: str, note: str, remark: str) -> None:
    view = Choosing(
        members=(Candidate("a"), Candidate("critic"), Candidate("travel-planner")),
        last=Entry(number=1, speaker="a", content="", handoff=handoff),
    )
    choice = ByHandoff().choose(view)
    assert isinstance(choice, Speak)
    assert choice.names == (speaker,)
    assert (note in choice.note, bool(choice.note)) == (True, bool(note))
    assert (remark in choice.remark, bool(choice.remark)) == (True, bool(remark))


def test_a_handoff_to_nobody_stands_in_the_transcript() -> None:
    team = TeamDefinition(name="t", members=members("a", "b"), selection=ByHandoff(), termination=MaxRounds(2))
    result = run(manager_of(a=[Reply(content="1", handoff="zed"), Reply(content="2")], b=echo), team)
    assert [item.speaker for item in result.transcript] == ["user", "a", "chat", "a"]
    assert "'zed', who is no member; possible: a, b" in result.transcript[2].content


def test_a_function_that_chooses_nobody_of_the_team_is_noticed() -> None:
    chat_function("picks-strangers")(lambda view: "zed")
    team = TeamDefinition(
        name="t", members=members("a"), selection=ByFunction("picks-strangers"), termination=MaxRounds(1)
    )
    notice = run(manager_of(a=echo), team).transcript[1]
    assert (notice.speaker, "picks-strangers chose 'zed', no member" in notice.content) == ("chat", True)


def test_a_selector_that_never_answers_is_done_without() -> None:
    team = TeamDefinition(name="t", members=members("a"), selection=ByModel("chooser"), termination=MaxRounds(2))
    result = run(manager_of(a=echo, chooser=silent), team)
    assert [item.speaker for item in result.transcript] == ["user", "chat", "a", "chat", "a"]


def test_parallel_members_speak_at_once_and_see_the_same() -> None:
    seen: dict[str, int] = {}

    def speak(turn: Turn) -> str:
        seen[turn.speaker] = len(turn.messages)
        return turn.speaker

    team = TeamDefinition(
        name="t",
        members=members("a", "b", "c", "judge"),
        selection=Parallel((("c", "a", "b"), ("judge",))),
        termination=MaxRounds(2),
    )
    result = run(manager_of(a=speak, b=speak, c=speak, judge=speak), team)
    assert [item.speaker for item in result.transcript] == ["user", "c", "a", "b", "judge"]
    assert seen == {"a": 1, "b": 1, "c": 1, "judge": 4}


def test_a_function_chooses_and_ends() -> None:
    @chat_function("test-twice-b")
    def twice_b(view: Choosing) -> str | None:
        return "b" if view.rounds < 2 else None

    team = TeamDefinition(name="t", members=members("a", "b"), selection=ByFunction("test-twice-b"))
    result = run(manager_of(a=echo, b=echo), team)
    assert [item.speaker for item in result.transcript[1:]] == ["b", "b"]
    assert result.reason == "nobody is to speak"


@pytest.mark.parametrize(
    "selector",
    [
        RoundRobin(),
        RandomSpeaker(seed=9, repeat=True),
        ByHandoff(first="b"),
        ByCapability(),
        ByModel("chooser", repeat=True),
        Parallel((("a", "b"),)),
        Parallel(),
    ],
)
def test_a_selector_survives_its_json(selector: Selector) -> None:
    team = TeamDefinition(name="t", members=(Member(name="a"), Member(name="b")), selection=selector)
    assert read_team(team.to_data()) == team


def test_a_name_is_found_only_when_it_is_the_only_one() -> None:
    assert find_name("Next: CRITIC.", ["critic", "writer"]) == "critic"
    assert find_name("critics", ["critic"]) is None
    assert find_name("", ["critic"]) is None
