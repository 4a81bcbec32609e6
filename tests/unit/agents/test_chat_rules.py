"""What a chat does, in one process: silence, approval, questions, deadlock, sub-chats, steering."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agents.api import (
    Answer,
    ApprovalClosed,
    ApprovalRequest,
    ChatError,
    ChatTimeout,
    CostBudget,
    Limits,
    Manual,
    MaxMessages,
    MaxRounds,
    Member,
    NexusGroupChatManager,
    Parallel,
    PersonRequest,
    ReliableNexusGroupChatManager,
    Reply,
    StopMessage,
    TeamDefinition,
    TextMention,
    Turn,
    UnknownApproval,
    UnknownChat,
    Usage,
)
from agents.chat.rules.definitions import OnRejection, OnTimeout
from messaging.api import CommunicationBus, ConfigurationError, ReliableCommunicationBus, UnknownAgent
from messaging.core.errors import SchemaViolation
from tests.unit.agents.chats import Silence, echo, manager_of, members, pairs, run, silent, team

# --- silence ---


def test_a_silent_member_is_asked_again_and_then_left_out() -> None:
    attempts: list[int] = []

    def mute(turn: Turn) -> str:
        attempts.append(turn.attempt)
        raise Silence

    assert pairs(manager_of(a=mute, b=echo), team("a", "b", limits=Limits(attempts=3))) == [
        ("user", "go"),
        ("chat", "a did not answer in time."),
        ("b", "b:a did not answer in time."),
    ]
    assert attempts == [1, 2, 3]


def test_a_member_that_answers_the_second_time_is_heard() -> None:
    def slow(turn: Turn) -> str:
        if turn.attempt == 1:
            raise Silence
        return "late"

    assert pairs(manager_of(a=slow), team("a", termination=MaxRounds(1))) == [("user", "go"), ("a", "late")]


def test_silence_can_end_the_chat() -> None:
    result = run(manager_of(a=silent), team("a", limits=Limits(on_timeout=OnTimeout.END)))
    assert (result.status, result.reason) == ("ended", "a did not answer in time")


def test_an_agent_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UnknownAgent, match="nobody"):
        run(manager_of(), team("nobody"))


def test_only_the_one_whose_turn_it_is_is_heard() -> None:
    manager = manager_of(a=echo, b=echo)
    manager.bus.register_agent("stranger")
    chat = manager.start_chat(team("a", "b", members=(Member(name="boss", human=True), *members("a", "b"))), "go")
    for data in ({"turn": 1, "content": "I am the boss"}, "psst", None):
        manager.bus.send(chat, "chat-manager", "chat.said", data, sender="stranger")
        with pytest.raises(SchemaViolation):
            manager.bus.send(chat, "chat-manager", "chat.answer", data, sender="a")
    answer = {"key": "k", "approved": True, "text": "yes", "by": "a"}
    manager.bus.send(chat, "chat-manager", "chat.answer", answer, sender="a")
    assert manager.transcript(chat).pairs() == [("user", "go")]


def test_nobody_can_answer_in_anothers_place() -> None:
    manager = manager_of(a=silent)
    manager.bus.register_agent("b", lambda message, context: context.reply({"turn": 1, "content": "I am a"}))
    definition = team("a", "b", selection=Parallel(), termination=MaxRounds(1), limits=Limits(attempts=1))
    assert pairs(manager, definition)[1:] == [
        ("chat", "a did not answer in time."),
        ("chat", "b did not answer in time."),
    ]


def test_a_plain_agent_may_just_reply() -> None:
    manager = manager_of()
    manager.bus.register_agent("plain", lambda message, context: context.reply("as I said"))
    manager.bus.register_agent("odd", lambda message, context: context.reply({"answer": [1]}))
    assert pairs(manager, team("plain", "odd")) == [("user", "go"), ("plain", "as I said"), ("odd", '{"answer":[1]}')]


# --- people ---


def test_an_approval_is_waited_for_and_noted() -> None:
    manager = manager_of(a=[Reply(content="pay 5", approval=ApprovalRequest("Pay?"))], b=echo)
    chat = manager.start_chat(team("a", "b"), "go")
    with pytest.raises(ChatTimeout, match="waits for a person: Pay"):
        manager.wait(chat)
    (request,) = manager.pending_approvals()
    assert (request.member, request.content, len(manager.transcript(chat))) == ("a", "pay 5", 1)
    manager.answer_approval(request.id, text="fine", by="eve")
    said = manager.wait(chat).transcript[1]
    assert (said.content, said.approved_by, said.comment) == ("pay 5", "eve", "fine")
    with pytest.raises(ApprovalClosed):
        manager.answer_approval(request.id)
    with pytest.raises(UnknownApproval):
        manager.answer_approval(chat)


def test_a_rejected_member_speaks_again_and_knows_why() -> None:
    def speak(turn: Turn) -> str:
        return f"after {turn.prompt}" if turn.prompt else "first"

    answers = iter([Answer(approved=False, text="too dear", by="eve"), Answer(approved=True, by="eve")])
    definition = team(members=members("a", approval=True), termination=MaxRounds(1))
    result = manager_of(a=speak).run(definition, "go", on_request=lambda request: next(answers))
    assert result.transcript.pairs() == [("user", "go"), ("eve", "too dear"), ("a", "after too dear")]


@pytest.mark.parametrize(
    ("limits", "speakers", "reason"),
    [
        (Limits(on_rejection=OnRejection.END), ["user", "eve"], "eve rejected what a said"),
        (Limits(on_rejection=OnRejection.CONTINUE), ["user", "eve", "b"], "2 rounds"),
        (Limits(attempts=2), ["user", "eve", "eve", "b"], "2 rounds"),
    ],
)
def test_what_a_rejection_does_is_a_policy(limits: Limits, speakers: list[str], reason: str) -> None:
    definition = team(members=(Member(name="a", approval=True), Member(name="b")), limits=limits)
    result = manager_of(a=echo, b=echo).run(
        definition, "go", on_request=lambda request: Answer(approved=False, by="eve")
    )
    assert ([said.speaker for said in result.transcript], result.reason) == (speakers, reason)


def test_a_person_can_be_a_member() -> None:
    definition = team(members=(Member(name="boss", human=True), Member(name="a")), termination=MaxRounds(4))
    said = iter([Answer(text="do it"), Answer(approved=False)])
    result = manager_of(a=echo).run(definition, "go", on_request=lambda request: next(said))
    assert result.transcript.pairs()[1:] == [
        ("boss", "do it"),
        ("a", "a:do it"),
        ("chat", "boss has nothing to say."),
        ("a", "a:boss has nothing to say."),
    ]


def test_a_person_can_choose_who_speaks() -> None:
    asked: list[PersonRequest] = []

    def choose(request: PersonRequest) -> Answer:
        asked.append(request)
        return Answer(text="b")

    definition = team("a", "b", selection=Manual())
    result = manager_of(a=echo, b=echo).run(definition, "go", on_request=choose)
    assert [said.speaker for said in result.transcript] == ["user", "b", "b"]
    assert asked[0].options == ("a", "b")


# --- sub-chats ---


def nested(inner: TeamDefinition, **fields: Any) -> TeamDefinition:
    return team(members=(Member(name="a"), Member(name="inner", team=inner)), **fields)


def test_a_chat_is_a_member_of_a_chat() -> None:
    inner = team("b", "c", termination=MaxRounds(2))
    manager = manager_of(a=echo, b=echo, c=echo)
    result = run(manager, nested(inner))
    assert result.transcript.pairs() == [("user", "go"), ("a", "a:go"), ("inner", "c:b:go\n\na: a:go")]
    assert result.transcript.sub_chats["2"].pairs()[1:] == [("b", "b:go\n\na: a:go"), ("c", "c:b:go\n\na: a:go")]
    assert result.transcript[2].data == {"team": "t", "reason": "2 rounds", "messages": 3}


def test_a_budget_counts_what_sub_chats_spend_while_they_spend_it() -> None:
    def dear(turn: Turn) -> Reply:
        return Reply(content="x", usage=Usage(cost=1.0))

    inner = team("b", termination=MaxRounds(99))
    result = run(manager_of(a=dear, b=dear), nested(inner, termination=CostBudget(4.0)))
    assert (result.usage.cost, result.reason) == (4.0, "4 of 4 spent")
    assert len(result.transcript) == 2


def test_sub_chats_that_end_at_once_do_not_pile_up() -> None:
    inner = team("b", termination=MaxMessages(1))
    definition = team(members=(Member(name="inner", team=inner),), termination=MaxRounds(500))
    assert run(manager_of(b=echo), definition).rounds == 500


def test_an_agent_may_be_in_a_chat_and_in_its_sub_chat() -> None:
    inner = team("a", termination=MaxRounds(1))
    result = run(manager_of(a=echo), nested(inner, selection=Parallel(), termination=MaxRounds(1)))
    assert [said.speaker for said in result.transcript] == ["user", "a", "inner"]


# --- steering ---


def test_the_task_does_not_end_the_chat_that_it_describes() -> None:
    definition = team("a", termination=TextMention("APPROVED") | MaxRounds(3))
    result = run(manager_of(a=["no", "APPROVED"]), replace(definition), "Say APPROVED when it is good")
    assert [said.content for said in result.transcript[1:]] == ["no", "APPROVED"]


def test_pause_holds_and_resume_goes_on() -> None:
    manager = manager_of(a=echo)
    chat = manager.start_chat(team(members=(Member(name="boss", human=True), Member(name="a"))), "go")
    manager.pause(chat, "lunch")
    manager.answer_approval(manager.pending_approvals(chat)[0].id, text="hi")
    with pytest.raises(ChatTimeout, match="paused"):
        manager.wait(chat)
    assert manager.view(chat).paused
    manager.resume(chat)
    assert manager.wait(chat).transcript.pairs()[1:] == [("boss", "hi"), ("a", "a:hi")]


def test_cancel_ends_at_once_and_stop_after_the_open_turns() -> None:
    manager = manager_of(a=echo)
    definition = team(members=(Member(name="boss", human=True), Member(name="a")), termination=MaxRounds(9))
    cancelled, stopped = (manager.start_chat(definition, "go") for _ in range(2))
    manager.cancel(cancelled, "no budget")
    result = manager.wait(cancelled)
    assert (result.status, result.reason, len(result.transcript)) == ("cancelled", "no budget", 1)
    manager.stop(stopped)
    manager.answer_approval(manager.pending_approvals(stopped)[0].id, text="last words")
    assert manager.wait(stopped).reason == "stopped from outside"


def test_what_is_said_from_outside_is_heard() -> None:
    manager = manager_of(a=echo)
    chat = manager.start_chat(team(members=(Member(name="boss", human=True), Member(name="a"))), "go")
    manager.say(chat, "hurry up")
    manager.answer_approval(manager.pending_approvals(chat)[0].id, text="now")
    assert manager.wait(chat).transcript.pairs()[1:] == [("user", "hurry up"), ("boss", "now"), ("a", "a:now")]


def test_a_fork_goes_on_from_its_message_and_leaves_the_chat_alone() -> None:
    manager = manager_of(a=echo, b=echo)
    chat = run(manager, team("a", "b", termination=MaxRounds(3)))
    forked = manager.wait(manager.fork(chat.chat, after=2, say="differently"))
    assert forked.transcript.pairs() == [
        *chat.transcript.pairs()[:2],
        ("user", "differently"),
        ("b", "b:differently"),
        ("a", "a:b:differently"),
    ]
    assert manager.transcript(chat.chat).pairs() == chat.transcript.pairs()
    again = manager.wait(manager.fork(chat.chat, after=2))
    assert again.transcript.pairs() == chat.transcript.pairs()


def test_a_fork_between_parallel_answers_is_refused() -> None:
    manager = manager_of(a=echo, b=echo)
    chat = run(manager, team("a", "b", selection=Parallel()))
    with pytest.raises(ChatError, match="Possible: 1, 3, 5"):
        manager.fork(chat.chat, after=2)
    with pytest.raises(UnknownChat):
        manager.transcript(manager.bus.start_workflow("none"))


def test_a_stop_message_ends_and_a_chat_without_an_end_has_one_nevertheless() -> None:
    assert run(manager_of(a=[Reply(content="bye", stop=True)]), team("a", termination=StopMessage())).rounds == 1
    endless = TeamDefinition(name="t", members=members("a"), limits=Limits(max_messages=7))
    assert run(manager_of(a=echo), endless).reason == "7 messages, the limit of the team (limits.max_messages)"


def test_one_task_is_one_chat_with_a_deduplication_id() -> None:
    manager = manager_of(a=echo)
    first = manager.start_chat(team("a"), "go", deduplication_id="order 7")
    assert manager.start_chat(team("a"), "go", deduplication_id="order 7") == first


def test_each_manager_takes_the_bus_that_fits() -> None:
    with pytest.raises(ConfigurationError, match="durable bus"):
        NexusGroupChatManager(ReliableCommunicationBus())
    legacy = ReliableNexusGroupChatManager(ReliableCommunicationBus(legacy_mode=True))
    legacy.bus.register_agent("a", lambda message, context: context.reply("hello"))
    assert legacy.run(team("a"), "go").transcript.pairs()[1:] == [("a", "hello")] * 2
    assert isinstance(NexusGroupChatManager(CommunicationBus()), NexusGroupChatManager)
