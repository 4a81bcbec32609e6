"""Durable chats that wait for people."""

from __future__ import annotations

import pytest

from agents.api import (
    ApprovalClosed,
    ChatError,
    ChatTimeout,
    Manual,
    MaxRounds,
    ReliableNexusGroupChatManager,
    TeamDefinition,
    UnknownApproval,
    answer_approval,
)
from agents.chat.rules.definitions import OnApprovalTimeout, OnRejection
from agents.models import Approval, ApprovalStatus
from tests.integration.agents.chats.helpers import approving, members, register, until
from tests.support.lab import Lab


def test_an_approval_survives_everything_and_is_answered_once(lab: Lab) -> None:
    manager = register(lab)
    chat = manager.start_chat(approving(), "go")
    lab.settle(step=0.2)
    with pytest.raises(ChatTimeout, match="waits for a person"):
        manager.wait(chat, timeout=5)
    lab.restart_consumer()
    lab.clock.advance(6 * 24 * 3600)
    (request,) = ReliableNexusGroupChatManager(lab.bus).pending_approvals()
    assert (request.chat, request.member, request.content) == (chat, "a", "a:go")
    answer_approval(request.id, text="good", by="eve", bus=lab.bus)
    with pytest.raises(ApprovalClosed, match="approved already"):
        answer_approval(request.id, approved=False, by="mallory", bus=lab.bus)
    with pytest.raises(UnknownApproval):
        answer_approval(chat, bus=lab.bus)
    lab.settle(step=0.2)
    said = manager.wait(chat, timeout=1).transcript[1]
    assert (said.approved_by, said.comment) == ("eve", "good")
    assert Approval.objects.get().answered_by == "eve"


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (OnApprovalTimeout.APPROVE, [("a", "a:go")]),
        (OnApprovalTimeout.END, []),
        (OnApprovalTimeout.REJECT, [("nobody", "nobody answered in time")]),
    ],
)
def test_an_approval_that_nobody_answers_has_a_policy(
    lab: Lab, policy: OnApprovalTimeout, said: list[tuple[str, str]]
) -> None:
    manager = register(lab)
    chat = manager.start_chat(approving(approval_timeout=60, on_approval_timeout=policy, attempts=1), "go")
    until(lab, manager, chat, step=30)
    assert manager.transcript(chat).pairs()[1:] == said
    assert set(Approval.objects.values_list("status", flat=True)) == {ApprovalStatus.WITHDRAWN}


def test_a_speaker_who_is_none_cannot_be_chosen(lab: Lab) -> None:
    manager = register(lab)
    team = TeamDefinition(name="t", members=members("a", "b"), selection=Manual(), termination=MaxRounds(1))
    chat = manager.start_chat(team, "go")
    lab.settle(step=0.2)
    (request,) = manager.pending_approvals(chat)
    with pytest.raises(ChatError, match="Choose one of a, b"):
        manager.answer_approval(request.id, text="z")
    manager.answer_approval(request.id, text="b")
    lab.settle(step=0.2)
    assert manager.wait(chat, timeout=1).transcript.pairs()[1] == ("b", "b:go")


@pytest.mark.usefixtures("raw_content")
def test_names_that_no_column_takes_do_no_harm(lab: Lab) -> None:
    manager = register(lab)
    chat = manager.start_chat(approving(on_rejection=OnRejection.END), "go")
    lab.settle(step=0.2)
    manager.say(chat, "hello", speaker="n\x00" * 200)
    manager.answer_approval(manager.pending_approvals(chat)[0].id, approved=False, by="m\x00" * 70)
    lab.settle(step=0.2)
    view = manager.view(chat)
    assert (view.status, view.reason) == ("ended", "m\\x00" * 70 + " rejected what a said")
    assert [said.kind for said in manager.transcript(chat)] == ["task", "human", "rejection"]
