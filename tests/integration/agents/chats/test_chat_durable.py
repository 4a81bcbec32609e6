"""Durable chats, a step at a time: the same as in one process, deadlines, approvals, forks, crashes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.db import transaction

from agents.api import AgentTeamBuilder as Builder
from agents.api import (
    ByModel,
    ChatError,
    ChatTimeout,
    CostBudget,
    DefinitionError,
    Limits,
    MaxRounds,
    Member,
    NexusGroupChatManager,
    Parallel,
    RandomSpeaker,
    TeamDefinition,
    TextMention,
    Timeout,
    Turn,
    UnknownChat,
    participant,
)
from agents.chat.hosts.session import wake_due_chats
from agents.chat.rules.definitions import OnTimeout
from agents.models import ChatEntry, ChatSession
from messaging.api import registry
from messaging.models import DeliveryState, Workflow
from tests.integration.agents.chats.helpers import NAMES, approving, echo, members, register, until
from tests.support.lab import Lab

INNER = TeamDefinition(name="inner", members=members("b", "c"), selection=Parallel(), termination=MaxRounds(2))
TEAMS = [
    TeamDefinition(name="round", members=members("a", "b", "c"), termination=MaxRounds(5) & TextMention("c:")),
    TeamDefinition(name="random", members=members("a", "b", "c"), selection=RandomSpeaker(5), termination=MaxRounds(6)),
    TeamDefinition(
        name="model", members=members("a", "b", "c"), selection=ByModel("chooser"), termination=MaxRounds(4)
    ),
    TeamDefinition(
        name="nested",
        members=(Member(name="a"), Member(name="team", team=INNER)),
        termination=CostBudget(2.6) | MaxRounds(9),
        limits=Limits(history=2),
    ),
]


@pytest.mark.parametrize("team", TEAMS, ids=lambda team: team.name)
def test_a_team_says_the_same_in_both_modes(lab: Lab, team: TeamDefinition) -> None:
    manager = register(lab)
    chat = manager.start_chat(team, "go")
    lab.settle(step=0.2)
    durable = manager.wait(chat, timeout=1)
    legacy = NexusGroupChatManager()
    for name in NAMES:
        legacy.bus.register_agent(name, participant(echo))
    simple = legacy.run(team, "go")
    assert durable.transcript.data(with_times=False) == simple.transcript.data(with_times=False)
    assert (durable.reason, durable.usage, durable.rounds) == (simple.reason, simple.usage, simple.rounds)
    assert {path: sub.data(with_times=False) for path, sub in durable.transcript.sub_chats.items()} == {
        path: sub.data(with_times=False) for path, sub in simple.transcript.sub_chats.items()
    }
    assert Workflow.objects.get(pk=chat).status == "completed"
    assert manager.missing_messages(chat) == {}


def test_a_crash_in_the_managers_handler_changes_nothing(lab: Lab) -> None:
    manager = register(lab)
    chat = manager.start_chat(TEAMS[0], "go")
    for sequence in range(1, 12):
        lab.publish()
        lab.consumer.step_and_die_in_handler(sequence)
        lab.restart_consumer()
        lab.relay_turn(after=40)
    lab.settle(step=40)
    crashed = manager.wait(chat, timeout=1).transcript.pairs()
    again = manager.start_chat(TEAMS[0], "go")
    lab.settle(step=0.2)
    assert crashed == manager.wait(again, timeout=1).transcript.pairs()


def test_a_chat_that_is_started_in_a_transaction_that_fails_was_never_there(lab: Lab) -> None:
    manager = register(lab)
    with transaction.atomic():
        chat = manager.start_chat(TEAMS[0], "go")
        transaction.set_rollback(True)
    with pytest.raises(UnknownChat):
        manager.view(chat)
    assert not lab.take_offered()


# --- deadlines ---


def test_a_silent_member_is_asked_again_and_then_left_out(lab: Lab) -> None:
    attempts: list[int] = []

    def silent(message: Any, context: Any) -> None:
        attempts.append(message.data["attempt"])

    manager = register(lab)
    lab.agent("b", silent)
    team = TeamDefinition(
        name="t", members=members("b", "a"), termination=MaxRounds(2), limits=Limits(turn_timeout=30, attempts=2)
    )
    chat = manager.start_chat(team, "go")
    until(lab, manager, chat, step=8)
    assert attempts == [1, 2]
    assert manager.transcript(chat).pairs()[1] == ("chat", "b did not answer in time.")


def test_a_deadline_that_passed_while_everything_was_down_is_set_anew(lab: Lab) -> None:
    manager = register(lab)
    team = TeamDefinition(
        name="t", members=members("a"), termination=MaxRounds(1), limits=Limits(on_timeout=OnTimeout.END)
    )
    chat = manager.start_chat(team, "go")
    lab.publish()
    lab.consumer.step()
    lab.clock.advance(7 * 24 * 3600)
    assert wake_due_chats() == 1
    lab.settle(step=20)
    assert manager.wait(chat, timeout=1).transcript.pairs()[1] == ("a", "a:go")


def test_a_pause_is_not_counted_against_anybody(lab: Lab) -> None:
    manager = register(lab)
    team = TeamDefinition(
        name="t", members=members("a"), termination=MaxRounds(1), limits=Limits(on_timeout=OnTimeout.END)
    )
    chat = manager.start_chat(team, "go")
    lab.publish()
    lab.consumer.step()
    manager.pause(chat, "lunch")
    lab.clock.advance(3600)
    wake_due_chats()
    lab.publish()
    lab.work(3)
    assert manager.view(chat).paused
    with pytest.raises(ChatTimeout, match="paused"):
        manager.wait(chat, timeout=0)
    manager.resume(chat)
    lab.settle(step=20)
    assert manager.wait(chat, timeout=1).reason == "1 rounds"


def test_the_clock_ends_a_chat_that_waits(lab: Lab) -> None:
    manager = register(lab)
    lab.agent("b", lambda message, context: None)
    team = TeamDefinition(name="t", members=members("b"), termination=Timeout(40))
    chat = manager.start_chat(team, "go")
    until(lab, manager, chat)
    assert manager.view(chat).reason == "40 s have passed"


# --- steering ---


def test_a_fork_is_a_workflow_of_its_own(lab: Lab) -> None:
    manager = register(lab)
    chat = manager.start_chat(TEAMS[1], "go")
    lab.settle(step=0.2)
    original = manager.wait(chat, timeout=1).transcript
    same, other = manager.fork(chat, after=4), manager.fork(chat, after=4, say="change of plan")
    lab.settle(step=0.2)
    assert manager.wait(same, timeout=1).transcript.pairs() == original.pairs()
    changed = manager.wait(other, timeout=1).transcript
    assert changed.pairs()[:5] == [*original.pairs()[:4], ("user", "change of plan")]
    assert changed.pairs()[5:] != original.pairs()[4:]
    session = ChatSession.objects.get(pk=other)
    assert (session.forked_from_id, session.forked_after) == (chat, 4)
    assert manager.transcript(chat).pairs() == original.pairs()
    with pytest.raises(ChatError, match="Possible: 1, 2, 3, 4, 5, 6, 7"):
        manager.fork(chat, after=99)


def test_forks_and_sub_chats_keep_labels(lab: Lab) -> None:
    manager = register(lab)
    registry.register(replace(registry.require("a"), origin="web"))
    chat = manager.start_chat(TEAMS[3], "go")
    lab.settle(step=0.2)
    assert str(lab.bus.state_labels(chat, "a")) == "origin:web"  # what it hears of its own words
    assert str(lab.bus.state_labels(chat, "b")) == "origin:web"  # in the sub-chat
    fork = manager.fork(chat, after=1)
    lab.settle(step=0.2)
    assert str(lab.bus.state_labels(fork, "b")) == "origin:web"
    clean = manager.start_chat(TeamDefinition(name="clean", members=members("b"), termination=MaxRounds(1)), "go")
    lab.settle(step=0.2)
    assert not lab.bus.state_labels(clean, "b")


def test_a_fork_in_one_process_keeps_labels() -> None:
    manager = NexusGroupChatManager()
    manager.bus.register_agent("a", participant(echo), origin="web")
    manager.bus.register_agent("b", participant(echo))
    team = TeamDefinition(name="two", members=members("a", "b"), termination=MaxRounds(3))
    chat = manager.start_chat(team, "go")
    fork = manager.fork(chat, after=2)
    assert str(manager.bus.state_labels(fork, "b")) == "origin:web"


def test_cancel_stops_what_is_on_its_way(lab: Lab) -> None:
    manager = register(lab)
    chat = manager.start_chat(approving(), "go")
    lab.settle(step=0.2)
    manager.cancel(chat, "too dear")
    view = manager.view(chat)
    assert (view.status, view.reason) == ("cancelled", "too dear")
    assert manager.pending_approvals() == []
    assert not lab.waiting()


def test_a_workflow_that_is_cancelled_by_itself_cancels_the_chat(lab: Lab) -> None:
    manager = register(lab)
    chat = manager.start_chat(TEAMS[0], "go")
    lab.publish()
    lab.consumer.step()
    lab.bus.cancel_workflow(chat, "by an operator")
    assert manager.view(chat).reason == "by an operator"
    lab.clock.advance(1000)
    wake_due_chats()
    assert ChatSession.objects.get(pk=chat).status == "cancelled"


def test_a_member_that_fails_for_good_parks_the_chat_and_a_replay_goes_on(lab: Lab) -> None:
    broken = [True]

    def fails(turn: Turn) -> str:
        if broken[0]:
            raise ValueError("no model")
        return "at last"

    manager = register(lab, b=fails)
    team = TeamDefinition(name="t", members=members("b"), termination=MaxRounds(1), limits=Limits(turn_timeout=1e6))
    chat = manager.start_chat(team, "go")
    lab.until(lambda: manager.view(chat).paused, step=400)
    letter = Workflow.objects.get(pk=chat).dead_letters.get()
    broken.clear()
    broken.append(False)
    lab.replay(letter.pk)
    lab.settle(step=1)
    assert manager.wait(chat, timeout=1).transcript.pairs()[1] == ("b", "at last")


# --- the builder ---


def test_the_builder_takes_rows_and_reports(lab: Lab) -> None:
    manager = register(lab)
    builder = Builder(lab.bus)
    builder.save_team("name: stored\nmembers: [a, b]\ntermination: {max_rounds: 3}\n")
    team = builder.build_team("stored")
    chat = builder.create_chat_manager().start_chat(team, "go")
    lab.settle(step=0.2)
    data = builder.get_team_report(chat).data()
    assert [(item["name"], item["messages"]) for item in data["members"]] == [("a", 2), ("b", 1)]
    assert (data["status"], data["usage"]["cost"], data["missing"], data["waiting_for"]) == ("ended", 0.75, {}, ())
    with pytest.raises(DefinitionError, match="stored are: stored"):
        builder.build_team("stord")
    with pytest.raises(DefinitionError, match="agents are not known: 'nobody'"):
        builder.build_team({"name": "t", "members": ["a", "nobody"]})
    assert manager.view(chat).team == team


@pytest.mark.usefixtures("raw_content")
def test_a_transcript_is_one_row_an_entry(lab: Lab) -> None:
    manager = register(lab)
    chat = manager.start_chat(TEAMS[3], "nul \x00 and ünïcode 🚀")
    lab.settle(step=0.2)
    transcript = manager.wait(chat, timeout=1).transcript
    assert transcript[0].content == "nul \x00 and ünïcode 🚀"
    stored = ChatEntry.objects.filter(session=chat, path="").values_list("number", flat=True)
    assert sorted(stored) == [said.number for said in transcript]
    assert not Workflow.objects.get(pk=chat).deliveries.exclude(state=DeliveryState.PROCESSED).exists()
