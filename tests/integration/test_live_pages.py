"""Live pages: who sees what, acting once, sharing, and one look at the log for all viewers."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from typing import Any
from uuid import UUID, uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.test import AsyncClient, Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from agents.models import Approval, ApprovalPurpose, Team
from messaging.api import ReliableCommunicationBus
from messaging.models import Message, OperatorAct, Workflow
from messaging.testing.servers.waiting import wait_until
from nexus_api import fanout
from nexus_api.feeds import Feeds, feeds
from nexus_api.slots import VIEWERS
from nexus_live.models import ShareLink
from tests.support.operators import EVIL, make_auditor, make_client

WATCHING = ("view_workflow", "view_message")
ACTING = (*WATCHING, "add_workflow", "add_message")
JSON = {"Accept": "application/json"}


@pytest.fixture(autouse=True)
def auditor(db: None, settings: Settings) -> None:
    make_auditor(settings)


@pytest.fixture
def workflow() -> UUID:
    """A workflow with two messages of a stranger's text."""
    bus = ReliableCommunicationBus()
    bus.register_agent("web")
    started = bus.start_workflow(f"Audit {EVIL}")
    for text in (EVIL, "second"):
        bus.send(started, "auditor", "audit.start", {"text": text}, sender="web")
    return started


def user_client(name: str, *permissions: str) -> Client:
    return make_client(permissions, name=name, enforce_csrf_checks=False)


def link_of(client: Client, workflow: UUID, hours: int = 1) -> str:
    told = client.post(f"/live/{workflow}/links", {"hours": hours}, headers=JSON)
    assert told.status_code == 200, told.content
    return str(re.findall(r"/live/shared/\S+/", told.json()["detail"])[0])


def test_who_may_not_see_a_workflow_is_told_of_none(workflow: UUID) -> None:
    assert Client().get(f"/live/{workflow}/").headers["Location"].startswith("/live/login/")
    assert Client().get(f"/live/{workflow}/poll").status_code == 403
    stranger, watcher = user_client("stranger"), user_client("watcher", *WATCHING)
    for path in ("", "poll", "events"):
        assert stranger.get(f"/live/{workflow}/{path}").status_code == 404
    for path, data in (("say", {"text": "x"}), ("links", {"hours": 1}), ("viewers", {"user": "stranger"})):
        assert stranger.post(f"/live/{workflow}/{path}", data).status_code == 404
        assert watcher.post(f"/live/{workflow}/{path}", data, headers=JSON).status_code == 403
        assert watcher.get(f"/live/{workflow}/{path}").status_code == 405
    assert str(workflow) not in stranger.get("/live/").content.decode()
    assert not OperatorAct.objects.exists()


def test_a_strangers_text_is_no_script(workflow: UUID) -> None:
    page = user_client("watcher", *WATCHING).get(f"/live/{workflow}/")
    text = page.content.decode()
    assert EVIL not in text
    assert "&lt;script&gt;alert(1)" in text
    assert re.findall(r"<script[^>]*>", text) == ['<script src="/static/nexus_live/live.js" defer>']
    assert "style=" not in text
    assert "script-src 'self';" in page["Content-Security-Policy"] + ";"


def test_polling_begins_behind_what_is_known(workflow: UUID) -> None:
    client = user_client("watcher", *WATCHING)
    first = client.get(f"/live/{workflow}/poll").json()
    assert [message["sequence"] for message in first["messages"]] == [1, 2]
    assert (first["state"]["status"], first["more"]) == ("running", False)
    assert client.get(f"/live/{workflow}/poll?after=2").json()["messages"] == []
    assert client.get(f"/live/{workflow}/poll?after=x").status_code == 422


def test_a_link_shows_one_workflow_until_it_ends(workflow: UUID) -> None:
    sharer = user_client("sharer", *WATCHING, "add_sharelink")
    link = link_of(sharer, workflow)
    page = Client().get(link)
    assert page["Referrer-Policy"] == "no-referrer"
    assert "<form" not in page.content.decode()
    assert len(Client().get(f"{link}poll").json()["messages"]) == 2
    token = link.split("/")[3]
    changed = f"{uuid4().hex}:{token.partition(':')[2]}"
    assert Client().get(f"/live/shared/{changed}/").status_code == 404
    assert Client().get(f"/live/shared/{token.partition(':')[0]}/poll").status_code == 404
    assert sharer.post(f"/live/{workflow}/links", {"hours": 99_999}, headers=JSON).status_code == 422
    for end in ("expired", "withdrawn", "its maker sees no longer"):
        link, row = link_of(sharer, workflow), ShareLink.objects.latest("created_at")
        assert Client().get(f"{link}poll").status_code == 200
        if end == "expired":
            ShareLink.objects.filter(pk=row.pk).update(expires_at=timezone.now())
        elif end == "withdrawn":
            sharer.post(f"/live/{workflow}/links/{row.pk}/withdraw")
        else:
            row.created_by.user_permissions.clear()
        assert Client().get(f"{link}poll").status_code == 404, end
    assert [act.action for act in OperatorAct.objects.order_by("pk")] == ["share", "share", "share", "unshare", "share"]


def test_a_user_who_was_let_in_sees_that_workflow_only(workflow: UUID) -> None:
    sharer, guest = user_client("sharer", *WATCHING, "add_workflowviewer"), user_client("guest", "add_message")
    sharer.post(f"/live/{workflow}/viewers", {"user": "guest"})
    other = ReliableCommunicationBus().start_workflow("other")
    assert guest.get(f"/live/{workflow}/poll").status_code == 200
    assert guest.get(f"/live/{other}/poll").status_code == 404
    assert re.findall(r"/live/([0-9a-f-]{36})/", guest.get("/live/").content.decode()) == [str(workflow)]
    assert guest.post(f"/live/{workflow}/viewers", {"user": "sharer"}, headers=JSON).status_code == 403


def test_a_team_is_started_once_and_spoken_to_once() -> None:
    ReliableCommunicationBus().register_agent("ann")
    Team.objects.create(name="pair", definition=json.dumps({"name": "pair", "members": ["ann", "auditor"]}))
    client = user_client("starter", "add_workflow", "add_message")
    form = {"team": "pair", "name": "talk", "task": "Say hello.", "key": str(uuid4())}
    places = {client.post("/live/", form)["Location"] for _ in range(2)}
    chat = Workflow.objects.get()
    assert places == {f"/live/{chat.pk}/"}
    assert client.get(f"/live/{chat.pk}/").status_code == 200  # who starts a chat sees it
    for _ in range(2):
        assert (
            client.post(f"/live/{chat.pk}/say", {"text": "Hi.", "key": "1"}, headers=JSON).json()["detail"] == "Sent."
        )
    assert [message.type for message in Message.objects.order_by("sequence")] == ["chat.start", "chat.say"]
    assert client.post("/live/", {**form, "team": "other"}).status_code == 400
    assert client.post(f"/live/{chat.pk}/say", {"text": " "}, headers=JSON).status_code == 422


@pytest.mark.parametrize("decision", ["approve", "deny"])
def test_an_approval_is_answered_once_by_who_may(workflow: UUID, decision: str) -> None:
    approval = Approval.objects.create(
        id=uuid4(), workflow_id=workflow, key="web:k", reply_to="auditor", question="May it?", content=EVIL,
        purpose=ApprovalPurpose.APPROVAL,
    )  # fmt: skip
    ReliableCommunicationBus().register_agent("chat-desk")
    watcher = user_client("watcher", *WATCHING)
    person = user_client("person", *WATCHING, "view_approval", "change_approval")
    path = f"/live/{workflow}/approvals/{approval.pk}"
    hidden = watcher.get(f"/live/{workflow}/poll").json()["state"]
    assert (hidden["waiting"], "approvals" in hidden) == (1, False)
    assert watcher.post(path, {"decision": decision}, headers=JSON).status_code == 403
    shown = person.get(f"/live/{workflow}/poll").json()["state"]["approvals"]
    assert [(one["id"], one["content"]) for one in shown] == [(str(approval.pk), EVIL)]
    assert person.post(path, {"decision": "perhaps"}, headers=JSON).status_code == 422
    assert person.post(path, {"decision": decision, "text": "so"}, headers=JSON).status_code == 200
    assert person.post(path, {"decision": decision}, headers=JSON).status_code == 409
    approval.refresh_from_db()
    assert (approval.status, approval.answered_by) == ("approved" if decision == "approve" else "rejected", "person")


# --- one look for all ---


def numbers_of(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"^id: (\d+)\nevent: message", text, re.MULTILINE)]


@pytest.mark.django_db(transaction=True)
def test_many_viewers_are_served_by_one_look(workflow: UUID) -> None:
    client = user_client("watcher", *WATCHING, "add_sharelink")
    link = link_of(client, workflow)
    viewers = 12
    began = feeds.looks

    async def watch(after: int) -> str:
        response: Any = await AsyncClient().get(f"{link}events", headers={"Last-Event-ID": str(after)})
        assert response.status_code == 200
        chunks = []
        async for chunk in response:
            chunks.append(chunk.decode())
            if "event: end" in chunks[-1]:
                break
        await sync_to_async(response.close)()
        await sync_to_async(connections.close_all)()
        return "".join(chunks)

    def go_on() -> None:
        bus = ReliableCommunicationBus()
        for number in range(3):
            bus.send(workflow, "auditor", "audit.more", number, sender="web")
        bus.cancel_workflow(workflow)
        connections.close_all()

    async def everybody() -> list[str]:
        watching = [asyncio.create_task(watch(number % 3)) for number in range(viewers)]
        while VIEWERS.taken() < viewers:
            await asyncio.sleep(0.02)
        await sync_to_async(go_on, thread_sensitive=False)()
        return list(await asyncio.gather(*watching))

    texts = asyncio.run(asyncio.wait_for(everybody(), timeout=30))
    for number, text in enumerate(texts):
        assert numbers_of(text) == list(range(number % 3 + 1, 6))
        assert "event: state" in text
        assert text.rstrip().endswith('data: {"status": "cancelled"}')
    assert VIEWERS.taken() == 0
    assert feeds.looks - began < 3 * viewers


@pytest.fixture
def listening(settings: Settings, redis_node: Any, monkeypatch: pytest.MonkeyPatch) -> Feeds:
    settings.REDIS_URL = redis_node.url
    heard = Feeds()
    monkeypatch.setattr(fanout, "feeds", heard)
    monkeypatch.setattr(fanout, "announcer", fanout.Announcer())
    monkeypatch.setattr(fanout, "listener", fanout.Listener())
    return heard


@pytest.mark.django_db(transaction=True)
def test_redis_tells_other_processes(listening: Feeds, workflow: UUID) -> None:
    woken = threading.Event()
    fanout.listen()
    wait_until(lambda: listening.every == fanout.LOOK_EVERY_WITH_REDIS, 10, lambda: "the listener")
    listening.every = 60.0
    with listening.watch(workflow, woken.set) as feed:
        wait_until(lambda: feed.known == 2, 10, lambda: "the first look")
        ReliableCommunicationBus().send(workflow, "auditor", "audit.more", None, sender="web")
        fanout.announce({workflow, uuid4()})
        wait_until(lambda: feed.known == 3, 10, lambda: "what Redis told")
        listening.every = 0.01
        listening.look_soon()
