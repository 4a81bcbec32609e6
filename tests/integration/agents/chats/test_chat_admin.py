"""Chats, approvals and teams in the admin."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from agents.admin import approvals
from agents.api import ApprovalClosed, Manual, MaxRounds, Member, TeamDefinition
from agents.models import Approval, Team
from tests.integration.agents.chats.helpers import approving, register
from tests.support.lab import Lab


@pytest.fixture
def client(transactional_db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("eve", password="x"))
    return client


def test_an_approval_is_answered_in_the_admin_once(lab: Lab, client: Client) -> None:
    manager = register(lab)
    chat = manager.start_chat(approving(), "<b>go</b>")
    lab.settle(step=0.2)
    url = f"/admin/nexus_agents/approval/{Approval.objects.get().pk}/change/"
    assert "May a say this?" in client.get("/admin/nexus_agents/approval/").content.decode()
    assert "&lt;b&gt;go" in client.get(url).content.decode()
    assert client.post(url, {"decision": "yes", "text": "fine"}).status_code == 302
    assert client.post(url, {"decision": "no", "text": "late"}).status_code == 403
    lab.settle(step=0.2)
    said = manager.wait(chat, timeout=1).transcript[1]
    assert (said.approved_by, said.comment) == ("eve", "fine")
    page = client.get(f"/admin/nexus_agents/chatsession/{chat}/change/").content.decode()
    assert "approved by eve: fine" in page
    assert "<b>go" not in page


def overtaken(approval: UUID, **_: object) -> None:
    """An answer that comes behind somebody else's."""
    raise ApprovalClosed(f"Approval {approval} is rejected already. What was answered first holds.")


@pytest.mark.parametrize("how", ["its workflow ended", "somebody was faster"])
def test_an_answer_that_is_refused_is_no_success(
    lab: Lab, client: Client, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    chat = register(lab).start_chat(approving(), "go")
    lab.settle(step=0.2)
    approval = Approval.objects.get(workflow=chat)
    if how == "its workflow ended":
        lab.bus.complete_workflow(chat)
    else:
        monkeypatch.setattr(approvals, "answer_approval", overtaken)
    response = client.post(
        f"/admin/nexus_agents/approval/{approval.pk}/change/", {"decision": "yes", "text": ""}, follow=True
    )
    told = [(message.level_tag, str(message)) for message in response.context["messages"]]
    assert [level for level, _ in told] == ["error"]
    assert ("completed" if how == "its workflow ended" else "already") in told[0][1]
    assert not LogEntry.objects.exists()
    assert Approval.objects.get().answered_by == ""


def test_an_answer_that_is_taken_is_logged(lab: Lab, client: Client) -> None:
    register(lab).start_chat(approving(), "go")
    lab.settle(step=0.2)
    approval = Approval.objects.get()
    client.post(f"/admin/nexus_agents/approval/{approval.pk}/change/", {"decision": "yes", "text": ""})
    assert LogEntry.objects.get().object_id == str(approval.pk)


def test_several_are_approved_at_once_and_a_wrong_speaker_is_refused(lab: Lab, client: Client) -> None:
    manager = register(lab)
    chats = [manager.start_chat(approving(), "go") for _ in range(2)]
    team = TeamDefinition(
        name="t", members=(Member(name="a"), Member(name="b")), selection=Manual(), termination=MaxRounds(1)
    )
    chosen = manager.start_chat(team, "go")
    lab.settle(step=0.2)
    speaker = Approval.objects.get(workflow=chosen)
    url = f"/admin/nexus_agents/approval/{speaker.pk}/change/"
    assert "Choose one of a, b." in client.post(url, {"decision": "yes", "text": "z"}).content.decode()
    selected = [str(key) for key in Approval.objects.values_list("pk", flat=True)]
    client.post("/admin/nexus_agents/approval/", {"action": "approve", "_selected_action": selected})
    lab.settle(step=0.2)
    assert [manager.view(chat).status for chat in chats] == ["ended", "ended"]
    assert manager.view(chosen).status == "running"


def test_a_team_that_cannot_work_is_refused_with_its_line(client: Client) -> None:
    wrong = {"name": "t", "definition": "name: t\nmembers: [a]\nlimit: {}"}
    answer = client.post("/admin/nexus_agents/team/add/", wrong).content.decode()
    assert "line 3, limit: unknown" in answer
    assert (
        client.post("/admin/nexus_agents/team/add/", {**wrong, "definition": "name: t\nmembers: [a]"}).status_code
        == 302
    )
    assert Team.objects.get().name == "t"
