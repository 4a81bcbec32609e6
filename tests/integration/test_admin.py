"""The admin: every table is there, the log cannot be changed, and operators' actions do what they say, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection, models
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from messaging.admin.base import MOST_COUNTED, BoundedPaginator
from messaging.admin.display import hex_dump, raw_bytes, visible
from messaging.api import HandlerContext, TerminalError
from messaging.models import (
    Agent,
    AgentGroup,
    DeadLetter,
    Delivery,
    GroupMember,
    Mailbox,
    Message,
    ProcessedMessage,
    QueueMarker,
    RelayLease,
    WorkerStatus,
    Workflow,
)
from tests.support.lab import Lab

EVIL = "<script>alert(1)</script>"
LOG = (Message, Delivery, Mailbox, ProcessedMessage, DeadLetter, Workflow, RelayLease, QueueMarker, WorkerStatus)


@pytest.fixture
def client(db: None) -> Client:
    """Logged in as one who may do everything."""
    client = Client()
    client.force_login(User.objects.create_superuser("admin"))
    return client


@pytest.fixture
def broken(lab: Lab) -> UUID:
    """A workflow that is parked: its first message was refused, its second one waits."""

    def refuse(message: object, context: HandlerContext) -> None:
        raise TerminalError(EVIL)

    lab.agent("auditor", refuse)
    workflow = lab.bus.start_workflow(f"Audit {EVIL}")
    for text in (EVIL, "second"):
        lab.send(workflow, "auditor", {"text": text})
    lab.publish()
    lab.work(2)
    assert Workflow.objects.get().status == "parked"
    lab.agent("auditor")  # it was repaired
    return workflow


def page(model: type[models.Model], name: str = "changelist", *args: object) -> str:
    """The URL of one of a model's pages."""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{name}", args=args)


def act(client: Client, model: type[models.Model], action: str, *keys: object, **more: str) -> Any:
    """Run an action on rows, as the list's form does."""
    data = {"action": action, "index": "0", "_selected_action": [str(key) for key in keys], **more}
    return client.post(page(model), data, follow=True)


def said(response: Any) -> str:
    """The messages on a page."""
    return " | ".join(str(message) for message in response.context["messages"])


# --- every table is there ---


def fill(workflow: UUID) -> None:
    """A row in every table that the broken workflow leaves empty."""
    now = timezone.now()
    RelayLease.objects.create(name="relay", holder="here:1", token=uuid4(), expires_at=now, renewed_at=now)
    QueueMarker.objects.create(queue="quick", sent_at=now)
    ProcessedMessage.objects.create(message_id=uuid4(), consumer="auditor", expires_at=now)
    WorkerStatus.objects.create(id=uuid4(), host="here", pid=1, thread="t", started_at=now, heartbeat_at=now)
    AgentGroup.objects.create(name="board")
    GroupMember.objects.create(group_id="board", agent_id="auditor")
    DeadLetter.objects.create(reason="invalid_envelope", body=bytes(range(256)), headers={"x-death": [EVIL]})


def test_every_table_has_pages_that_hide_no_markup(client: Client, broken: UUID) -> None:
    fill(broken)
    for model in apps.get_app_config("messaging").get_models():
        if model is GroupMember:  # stands on its group's page
            continue
        assert admin.site.is_registered(model), f"{model.__name__} is missing in the admin"
        assert client.get(page(model)).status_code == 200, model
        for row in model._default_manager.all():
            response = client.get(page(model, "change", row.pk))
            assert response.status_code == 200, row
            assert EVIL not in response.content.decode()
            assert client.get(page(model, "history", row.pk)).status_code == 200
    assert client.get("/admin/").status_code == 200


@pytest.mark.parametrize("model", LOG)
def test_the_log_cannot_be_changed(client: Client, broken: UUID, model: type[models.Model]) -> None:
    fill(broken)
    row = model._default_manager.first()
    assert row is not None
    before = list(model._default_manager.values())
    assert client.get(page(model, "add")).status_code == 403
    assert client.post(page(model, "add"), {}).status_code == 403
    assert client.post(page(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert client.post(page(model, "change", row.pk), {"name": "x", "_save": "Save"}).status_code == 403
    act(client, model, "delete_selected", row.pk, post="yes")
    assert list(model._default_manager.values()) == before


# --- pages stay quick ---


@pytest.mark.parametrize("model", LOG)
def test_lists_do_not_count_the_whole_table(client: Client, broken: UUID, model: type[models.Model]) -> None:
    fill(broken)
    client.get(page(model))  # sessions and content types are remembered from here on
    with CaptureQueriesContext(connection) as queries:
        client.get(page(model))
    counts = [query["sql"] for query in queries if "COUNT(" in query["sql"]]
    assert counts
    for sql in counts:
        assert f"LIMIT {MOST_COUNTED}" in sql
    assert len(queries) < 12


def test_counting_ends_somewhere(db: None) -> None:
    Agent.objects.bulk_create([Agent(name=f"agent-{number}") for number in range(30)])
    paginator = BoundedPaginator(Agent.objects.order_by("name"), 10)
    assert (paginator.count, paginator.num_pages, paginator.capped) == (30, 3, False)
    with CaptureQueriesContext(connection) as queries:
        assert BoundedPaginator(Agent.objects.order_by("name"), 10).count == 30
    assert f"LIMIT {MOST_COUNTED}" in queries[0]["sql"]


def test_lists_load_no_bodies(client: Client, broken: UUID) -> None:
    for model, column in ((Message, "envelope"), (DeadLetter, "body")):
        with CaptureQueriesContext(connection) as queries:
            client.get(page(model))
        assert not [query for query in queries if f'"{column}"' in query["sql"]]


@pytest.mark.parametrize("facets", ["", "&_facets=True"])
def test_filters(client: Client, broken: UUID, facets: str) -> None:
    wanted = {
        f"{page(Workflow)}?status__exact=parked&since=day": 1,
        f"{page(Workflow)}?status__exact=running": 0,
        f"{page(Message)}?since=hour": 2,
        f"{page(Message)}?since=nonsense": 2,
        f"{page(Delivery)}?state=held": 1,
        f"{page(Delivery)}?state=nonsense": 2,
        f"{page(Mailbox)}?since=week": 1,
        f"{page(DeadLetter)}?reason__exact=handler_error": 1,
        f"{page(DeadLetter)}?status=replayed": 0,
        f"{page(DeadLetter)}?status=all": 1,
    }
    for url, count in wanted.items():
        response = client.get(url + facets)
        assert response.status_code == 200, url
        assert response.context["cl"].result_count == count, url


def test_searches(client: Client, broken: UUID) -> None:
    message = Message.objects.order_by("sequence").first()
    assert message is not None
    wanted: list[tuple[type[models.Model], object, int]] = [
        (Workflow, broken, 1),
        (Workflow, uuid4(), 0),
        (Workflow, "audit", 1),
        (Message, broken, 2),
        (Message, message.pk, 1),
        (Message, "auditor", 2),
        (Delivery, message.pk, 1),
        (Delivery, broken, 2),
        (Delivery, "auditor", 2),
        (Delivery, "aud", 0),
        (Mailbox, broken, 1),
        (DeadLetter, "TerminalError", 1),
        (DeadLetter, broken, 1),
        (ProcessedMessage, message.pk, 0),
        (ProcessedMessage, "word", 0),
        (Message, "a\x00b", 2),  # refused by the form, which shows everything
        (Message, "'; DROP TABLE nexus_message; --", 0),
    ]
    for model, term, count in wanted:
        response = client.get(page(model), {"q": str(term)})
        assert response.status_code == 200, (model, term)
        assert response.context["cl"].result_count == count, (model, term)


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
    assert "1 dead letter discarded" in said(act(client, DeadLetter, "discard", letter.pk, confirmed="1"))
    lab.settle()
    assert lab.states(broken) == ["dead", "processed"]


def test_what_belongs_to_no_delivery_cannot_be_replayed(client: Client, db: None) -> None:
    letter = DeadLetter.objects.create(reason="invalid_envelope", body=b"\xff")
    text = client.get(page(DeadLetter, "change", letter.pk)).content.decode()
    assert 'id="nexus-replay"' not in text
    assert "belongs to no delivery" in said(act(client, DeadLetter, "replay", letter.pk))
    assert "1 dead letter discarded" in said(act(client, DeadLetter, "discard", letter.pk, confirmed="1"))


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


@pytest.mark.parametrize("key", ["nonsense", "999999", "%00", str(uuid4())])
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
    assert "An agent has this name" in add_group(client, "auditor").content.decode()
    assert "expected 1 to 100 of" in add_group(client, "No Name").content.decode()
    assert AgentGroup.objects.count() == 1


def test_agents_are_made_by_workers(client: Client, db: None) -> None:
    Agent.objects.create(name="gone")
    assert client.get(page(Agent, "add")).status_code == 403
    assert client.post(page(Agent, "change", "gone"), {"kind": "leased"}).status_code == 403
    assert client.post(page(Agent, "delete", "gone"), {"post": "yes"}).status_code == 302
    assert not Agent.objects.exists()


# --- how values look ---


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"a":"\xc3\xbc"}', "&quot;a&quot;: &quot;ü&quot;"),
        (b"plain", "plain"),
        (b"\xff\x00", "00000000  ff 00"),
        (b"", ""),
        (b"[" * 100_000, "more characters"),
        (b"[" * 20_000, "[[["),
        (b"\xff" * 100_000, "more bytes"),
        ("\u202etxt\u200b\x07".encode(), "\\u202etxt\\u200b\\x07"),
        (EVIL.encode(), "&lt;script&gt;"),
    ],
)
def test_raw_bytes(data: bytes, words: str) -> None:
    shown = raw_bytes(data)
    assert words in shown
    assert EVIL not in shown
    assert len(shown) < 400_000


@pytest.mark.parametrize("make", [visible, lambda text: hex_dump(text.encode())])
def test_nothing_is_hidden(make: Callable[[str], str]) -> None:
    assert "\u202e" not in make("\u202e\u2066")
