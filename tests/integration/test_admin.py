"""What operators do in the admin: every action does what it says, once, and only for those who may."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import models
from django.test import Client

from messaging.api import LabelPolicy, registry
from messaging.directory.pausing import paused_agents
from messaging.models import (
    Agent,
    AgentGroup,
    DeadLetter,
    Delivery,
    GroupMember,
    LabelEndorsement,
    Message,
    Workflow,
)
from tests.support.lab import Lab
from tests.support.operators import EVIL, act, broken_workflow, make_client, page, said, superuser


@pytest.fixture
def client(db: None) -> Client:
    """Logged in as one who may do everything."""
    return superuser()


@pytest.fixture
def broken(lab: Lab) -> UUID:
    """A workflow that is parked: its first message was refused, its second one waits."""
    return broken_workflow(lab)


# --- workflows ---


def test_the_workflow_page_shows_how_far_it_is(client: Client, broken: UUID) -> None:
    text = client.get(page(Workflow, "change", broken)).content.decode()
    letter = DeadLetter.objects.get()
    assert page(DeadLetter, "change", letter.pk) in text
    for message in Message.objects.all():
        assert page(Message, "change", message.pk) in text
    assert "<td>auditor</td><td>2</td><td>0</td><td>2</td>" in text
    assert 'id="nexus-resume"' in text
    assert 'id="nexus-pause"' not in text


def test_pause_and_resume(client: Client, lab: Lab) -> None:
    workflow = lab.workflow()
    assert "1 workflow paused" in said(act(client, Workflow, "pause", workflow))
    assert Workflow.objects.get().status == "paused"
    assert Workflow.objects.get().status_reason == "by admin"
    assert "is paused already" in said(act(client, Workflow, "pause", workflow))
    assert "1 workflow resumed" in said(act(client, Workflow, "resume", workflow))
    assert "is running already" in said(act(client, Workflow, "resume", workflow))
    assert [entry.change_message for entry in LogEntry.objects.order_by("pk")] == ["Paused.", "Resumed."]


def test_cancelling_is_confirmed_first(client: Client, broken: UUID) -> None:
    response = act(client, Workflow, "cancel", broken)
    assert "cannot be resumed" in response.content.decode()
    assert EVIL not in response.content.decode()
    assert Workflow.objects.get().status == "parked"
    response = act(client, Workflow, "cancel", broken, confirmed="1", reason="wrong\x00 quarter", from_page="1")
    assert "1 workflow cancelled" in said(response)
    assert response.redirect_chain[-1][0] == page(Workflow, "change", broken)
    workflow = Workflow.objects.get()
    assert (workflow.status, workflow.status_reason) == ("cancelled", "by admin: wrong quarter")
    assert "is cancelled already" in said(act(client, Workflow, "cancel", broken, confirmed="1"))
    assert "cannot become" in said(act(client, Workflow, "resume", broken))
    assert LogEntry.objects.count() == 1


def test_one_that_fails_does_not_stop_the_others(client: Client, lab: Lab) -> None:
    first, second, third = (lab.workflow() for _ in range(3))
    lab.bus.complete_workflow(second)
    text = said(act(client, Workflow, "pause", first, second, third))
    assert "2 workflows paused" in text
    assert second.hex[-8:] in text
    assert "is completed" in text


# --- dead letters ---


def test_replaying(client: Client, lab: Lab, broken: UUID) -> None:
    letter = DeadLetter.objects.get()
    response = act(client, DeadLetter, "replay", letter.pk, from_page="1")
    assert "1 dead letter replayed" in said(response)
    assert response.redirect_chain[-1][0] == page(DeadLetter, "change", letter.pk)
    letter.refresh_from_db()
    assert (letter.status, letter.resolved_by) == ("replayed", "admin")
    lab.settle()
    assert lab.all_processed(broken)
    assert LogEntry.objects.get().change_message == "Replayed."


def test_pressing_twice_is_harmless(client: Client, broken: UUID) -> None:
    letter = DeadLetter.objects.get()
    act(client, DeadLetter, "replay", letter.pk)
    assert "Nothing that was selected" in said(act(client, DeadLetter, "replay", letter.pk))
    response = client.post(
        f"{page(DeadLetter)}?status=all",
        {"action": "replay", "index": "0", "_selected_action": str(letter.pk)},
        follow=True,
    )
    assert "is replayed already" in said(response)
    assert LogEntry.objects.count() == 1


def test_discarding_is_confirmed_first(client: Client, lab: Lab, broken: UUID) -> None:
    letter = DeadLetter.objects.get()
    assert "never handled" in act(client, DeadLetter, "discard", letter.pk).content.decode()
    assert DeadLetter.objects.get().status == "open"
    assert "1 dead letter discarded" in said(
        act(client, DeadLetter, "discard", letter.pk, confirmed="1", reason="sent twice")
    )
    lab.settle()
    assert lab.states(broken) == ["dead", "processed"]


def test_what_belongs_to_no_delivery_cannot_be_replayed(client: Client, db: None) -> None:
    letter = DeadLetter.objects.create(reason="invalid_envelope", body=b"\xff")
    text = client.get(page(DeadLetter, "change", letter.pk)).content.decode()
    assert 'id="nexus-replay"' not in text
    assert "belongs to no delivery" in said(act(client, DeadLetter, "replay", letter.pk))
    assert "1 dead letter discarded" in said(
        act(client, DeadLetter, "discard", letter.pk, confirmed="1", reason="sent twice")
    )


@pytest.mark.parametrize("model", [Workflow, DeadLetter])
def test_looking_is_not_operating(broken: UUID, model: type[models.Model]) -> None:
    """Who may only view gets no buttons and no actions."""
    user = User.objects.create_user("guest", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_workflow", "view_deadletter"]))
    client = Client()
    client.force_login(user)
    row = model._default_manager.get()
    assert "nexus-buttons" not in client.get(page(model, "change", row.pk)).content.decode()
    for action in ("pause", "resume", "cancel", "replay", "discard"):
        act(client, model, action, row.pk, confirmed="1")
    assert Workflow.objects.get().status == "parked"
    assert DeadLetter.objects.get().status == "open"
    assert client.get(page(Message)).status_code == 403


@pytest.mark.parametrize("key", ["nonsense", "999999", "%00", str(UUID(int=4))])
def test_pages_of_rows_that_do_not_exist(client: Client, db: None, key: str) -> None:
    for model in (Workflow, DeadLetter, Message, Delivery):
        response = client.get(page(model, "change", "KEY").replace("KEY", key), follow=True)
        assert response.status_code in (200, 404)
        act(client, model, "replay", key)


# --- agents and groups ---


def add_group(client: Client, name: str, *agents: str) -> Any:
    data = {"name": name, "members-TOTAL_FORMS": str(len(agents)), "members-INITIAL_FORMS": "0"}
    for number, agent in enumerate(agents):
        data[f"members-{number}-agent"] = agent
    return client.post(page(AgentGroup, "add"), data)


def test_groups_are_made_here(client: Client, db: None) -> None:
    Agent.objects.create(name="auditor")
    assert add_group(client, "board", "auditor").status_code == 302
    assert [str(member) for member in GroupMember.objects.all()] == ["auditor in board"]
    assert "is an agent&#x27;s name already" in add_group(client, "auditor").content.decode()
    assert "expected 1 to 100 of" in add_group(client, "No Name").content.decode()
    assert AgentGroup.objects.count() == 1


def test_agents_are_paused_and_resumed_here(client: Client, lab: Lab) -> None:
    for name in ("auditor", "writer"):
        lab.agent(name)
    assert 'id="nexus-pause"' in client.get(page(Agent, "change", "auditor")).content.decode()
    answer = said(act(client, Agent, "pause", "auditor", "web"))
    assert "1 agent paused." in answer
    assert "'web' is a program that reads its messages itself" in answer
    assert paused_agents() == ["auditor"]
    assert "is paused already" in said(act(client, Agent, "pause", "auditor"))
    shown = client.get(page(Agent, "change", "auditor")).content.decode()
    assert 'id="nexus-resume"' in shown
    assert "by admin" in shown
    for choice, count in (("yes", 1), ("no", 2)):
        assert client.get(f"{page(Agent)}?paused={choice}").context["cl"].result_count == count
    lab.send(lab.workflow(), "auditor")
    lab.publish()
    lab.work(2)
    assert Delivery.objects.get().state == "held"
    assert "1 agent resumed." in said(act(client, Agent, "resume", "auditor", from_page="1"))
    assert "is not paused" in said(act(client, Agent, "resume", "writer"))
    lab.settle()
    assert Delivery.objects.get().state == "processed"
    assert [entry.change_message for entry in LogEntry.objects.order_by("pk")] == ["Paused.", "Resumed."]


def test_pausing_an_agent_needs_a_permission(lab: Lab) -> None:
    lab.agent("auditor")
    viewer = make_client(["view_agent"], name="viewer", staff=True)
    assert 'id="nexus-pause"' not in viewer.get(page(Agent, "change", "auditor")).content.decode()
    act(viewer, Agent, "pause", "auditor")
    assert paused_agents() == []
    act(make_client(["view_agent", "change_agent"], name="operator", staff=True), Agent, "pause", "auditor")
    assert paused_agents() == ["auditor"]


def test_agents_are_made_by_workers(client: Client, db: None) -> None:
    Agent.objects.create(name="gone")
    assert client.get(page(Agent, "add")).status_code == 403
    assert client.post(page(Agent, "change", "gone"), {"kind": "leased"}).status_code == 403
    assert client.post(page(Agent, "delete", "gone"), {"post": "yes"}).status_code == 302
    assert not Agent.objects.exists()


# --- labels ---


def test_labels_are_shown_and_lowered_by_a_person_who_says_why(client: Client, lab: Lab) -> None:
    lab.agent("payer")
    registry.register(replace(registry.require("payer"), accepts_labels=LabelPolicy()))
    workflow = lab.workflow()
    sent = lab.send(workflow, "payer", labels="origin:web")
    lab.settle()
    text = client.get(page(Message, "change", sent)).content.decode()
    assert "origin:web" in text
    assert "#1 test.message</a> from web to payer: asked" in text
    letter = DeadLetter.objects.get()
    assert 'id="nexus-endorse"' in client.get(page(DeadLetter, "change", letter.pk)).content.decode()
    assert "reason" in said(act(client, DeadLetter, "endorse", letter.pk, confirmed="1", reason=""))
    assert DeadLetter.objects.get().status == "open"
    assert "1 dead letter endorsed" in said(
        act(client, DeadLetter, "endorse", letter.pk, confirmed="1", reason="read it")
    )
    lab.settle()
    assert lab.ledger.handled(workflow, "payer") == [1]
    row = LabelEndorsement.objects.get()
    assert (row.who, row.reason) == ("admin", "read it")
    text = client.get(page(Message, "change", sent)).content.decode()
    assert "origin:web; person by admin: read it → none" in text


def test_a_message_shows_whether_it_is_what_was_stored(client: Client, lab: Lab) -> None:
    message = lab.send(lab.workflow(), "web")
    shown = page(Message, "change", message)
    assert "authentic" in client.get(shown).content.decode()
    Message.objects.update(source="auditor")
    text = client.get(shown).content.decode()
    assert "authentic" not in text
    assert "its column source is auditor, its envelope says web" in text
