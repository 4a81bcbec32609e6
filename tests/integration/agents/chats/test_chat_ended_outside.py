"""Chats whose workflow ended, or went, without them: programs hear of it, and nobody is asked any more."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from django.utils import timezone

from agents.api import (
    AgentTeamBuilder,
    MaxRounds,
    NexusGroupChatManager,
    ReliableNexusGroupChatManager,
    TeamDefinition,
    participant,
    request_approval,
)
from agents.chat.hosts.approval import withdraw_ended
from agents.chat.hosts.session import close_ended_chats, wake_due_chats
from agents.models import Approval, ChatSession
from messaging.models import Workflow
from messaging.recovery.retention import prune_messages
from tests.integration.agents.chats.helpers import approving, echo, members, register
from tests.support.lab import Lab

TEAM = TeamDefinition(name="pair", members=members("a", "b"), termination=MaxRounds(3))
ENDS = {
    "complete": ("ended", "its workflow was completed"),
    "cancel": ("cancelled", "no money"),
    "expire": ("cancelled", "its workflow is expired"),
}


def prune(*workflows: UUID) -> None:
    prune_messages(timedelta(days=7), now=timezone.now() + timedelta(days=20))
    assert not Workflow.objects.filter(pk__in=workflows).exists()


def waiting_for_a_person(lab: Lab) -> tuple[ReliableNexusGroupChatManager, UUID]:
    manager = register(lab)
    chat = manager.start_chat(approving(), "go")
    lab.settle(step=0.2)
    assert len(manager.pending_approvals(chat)) == 1
    return manager, chat


def end(lab: Lab, chat: UUID, how: str) -> None:
    if how == "complete":
        lab.bus.complete_workflow(chat)
    elif how == "cancel":
        lab.bus.cancel_workflow(chat, "no money")
    else:
        Workflow.objects.filter(pk=chat).update(status="expired", ended_at=timezone.now())


def test_a_transcript_outlives_the_log(lab: Lab) -> None:
    manager = register(lab)
    chat = manager.start_chat(TEAM, "go")
    lab.settle(step=0.2)
    before, pairs = manager.view(chat), manager.transcript(chat).pairs()
    prune(chat)
    assert manager.view(chat) == before
    assert manager.wait(chat, timeout=0).transcript.pairs() == pairs
    assert AgentTeamBuilder(lab.bus).get_team_report(chat).status == "ended"
    forked = manager.fork(chat, after=2, say="again")
    lab.settle(step=0.2)
    assert manager.view(forked).status == "ended"
    assert manager.transcript(forked).pairs()[:2] == pairs[:2]


@pytest.mark.parametrize("how", ENDS)
def test_whoever_waits_hears_that_the_workflow_ended(lab: Lab, how: str) -> None:
    manager, chat = waiting_for_a_person(lab)
    end(lab, chat, how)
    view, result = manager.view(chat), manager.wait(chat, timeout=0)
    assert (view.status, view.reason) == (result.status, result.reason) == ENDS[how]
    assert AgentTeamBuilder(lab.bus).get_team_report(chat).waiting_for == ()


@pytest.mark.parametrize("how", ENDS)
def test_the_relay_closes_the_chat_and_nobody_is_asked_any_more(lab: Lab, how: str) -> None:
    manager, chat = waiting_for_a_person(lab)
    going_on = manager.start_chat(approving(), "go")
    lab.settle(step=0.2)
    end(lab, chat, how)
    assert close_ended_chats() == 1
    assert close_ended_chats() == 0
    session = ChatSession.objects.get(pk=chat)
    assert (session.status, session.reason) == ENDS[how]
    assert session.ended_at is not None
    assert session.wake_at is None
    assert dict(Approval.objects.values_list("workflow_id", "status")) == {chat: "withdrawn", going_on: "waiting"}


@pytest.mark.parametrize("how", ENDS)
def test_a_deadline_finds_the_same(lab: Lab, how: str) -> None:
    _, chat = waiting_for_a_person(lab)
    end(lab, chat, how)
    lab.clock.advance(8 * 86_400)
    assert wake_due_chats() == 1
    session = ChatSession.objects.get(pk=chat)
    assert (session.status, session.reason) == ENDS[how]
    assert Approval.objects.get(workflow=chat).status == "withdrawn"


def test_a_running_chat_whose_workflow_went_is_over(lab: Lab) -> None:
    manager, chat = waiting_for_a_person(lab)
    end(lab, chat, "complete")
    prune(chat)
    over = ("cancelled", "its workflow ended and was removed from the log")
    view = manager.view(chat)
    assert (view.status, view.reason) == over
    assert close_ended_chats() == 1
    session = ChatSession.objects.get(pk=chat)
    assert (session.status, session.reason) == over


def test_what_an_agent_asked_is_withdrawn_with_its_workflow(lab: Lab) -> None:
    lab.agent("careful", lambda message, context: request_approval(context, "pay", "May I pay?"))
    workflows = [lab.workflow() for _ in range(3)]
    for workflow in workflows:
        lab.send(workflow, "careful")
    lab.settle(step=0.2)
    assert withdraw_ended() == 0
    lab.bus.complete_workflow(workflows[0])
    lab.bus.cancel_workflow(workflows[1])
    prune(workflows[1], workflows[0])
    lab.bus.pause_workflow(workflows[2])
    assert withdraw_ended() == 2
    assert set(Approval.objects.filter(status="waiting").values_list("workflow_id", flat=True)) == {workflows[2]}


@pytest.mark.parametrize("how", ["complete", "cancel"])
def test_in_one_process_too(how: str) -> None:
    manager = NexusGroupChatManager()
    manager.bus.register_agent("a", participant(echo))
    chat = manager.start_chat(approving(), "go")
    assert manager.view(chat).status == "running"
    getattr(manager.bus, f"{how}_workflow")(chat)
    assert manager.view(chat).status == manager.wait(chat, timeout=0).status == ENDS[how][0]
    assert manager.pending_approvals() == []
