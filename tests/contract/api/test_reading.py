"""Lists, single reads, operating, events and replies."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any
from uuid import UUID, uuid4

import pytest
from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import connections
from django.test import AsyncClient
from pytest_django.fixtures import Settings

from agents.models import Approval, ChatEntry, Team
from messaging.api import HandlerContext, ReliableCommunicationBus
from messaging.models import DeadLetter, Workflow
from nexus_api import streams
from nexus_api.slots import WAITING
from tests.support.api import ApiCaller, close, problem
from tests.support.lab import Lab
from tests.support.operators import broken_workflow

MESSAGE = {"recipient": "auditor", "type": "audit.start", "data": "a"}
START = {"name": "Audit", "message": MESSAGE}


def events_of(text: str) -> list[tuple[str, int, Any]]:
    found = re.findall(r"id: (\d+)\nevent: (\w+)\ndata: (.*)\n\n", text)
    return [(name, int(number), json.loads(data)) for number, name, data in found]


def test_pages_show_each_once(program: ApiCaller) -> None:
    made = [program.post("/workflows", {"name": f"w {number}"}).json()["workflow"] for number in range(5)]
    seen: list[str] = []
    cursor: str | None = ""
    pages = 0
    while cursor is not None:
        page = program.get(f"/workflows?limit=2{cursor and f'&cursor={cursor}'}").json()
        seen += [item["id"] for item in page["items"]]
        cursor, pages = page["next"], pages + 1
        if pages == 1:
            program.post("/workflows", {"name": "meanwhile"})
    assert (seen, pages) == (made[::-1], 3)
    assert program.get("/workflows?status=paused").json() == {"items": [], "next": None}
    for query in ("limit=0", "limit=201", "limit=x", "status=none", "cursor=x", "cursor=W10", "cursor=%00"):
        assert program.get(f"/workflows?{query}").status_code == 422, query


def test_etags(program: ApiCaller) -> None:
    path = f"/workflows/{program.post('/workflows', START).json()['workflow']}"
    first = program.get(path)
    again = program.get(path, If_None_Match=first["ETag"])
    assert (again.status_code, again.content) == (304, b"")
    program.post(f"{path}/messages", MESSAGE)
    assert program.get(path, If_None_Match=first["ETag"]).status_code == 200


def test_pausing_resuming_and_cancelling(program: ApiCaller) -> None:
    path = f"/workflows/{program.post('/workflows', START).json()['workflow']}"
    assert program.get(path).json()["mailboxes"] == [{"agent": "auditor", "sent": 1, "processed": 0}]
    paused = program.post(f"{path}/pause", {"reason": "lunch"}).json()
    assert (paused["status"], paused["status_reason"]) == ("paused", "lunch")
    assert program.post(f"{path}/resume").json()["status"] == "running"
    assert program.post(f"{path}/cancel", {"reason": "enough"}).json()["status"] == "cancelled"
    problem(program.post(f"{path}/resume"), 409, "workflow-closed")


def test_agents_are_paused_and_resumed(program: ApiCaller) -> None:
    paused = program.post("/agents/auditor/pause", {"reason": "upgrade"}).json()
    assert (paused["paused"], paused["paused_reason"]) == (True, "upgrade")
    assert [agent["paused"] for agent in program.get("/agents").json()["items"] if agent["name"] == "auditor"] == [True]
    assert program.post("/agents/auditor/resume").json() == {"released": 0}
    program.post("/workflows", START)
    problem(program.post("/agents/web/pause", {}), 409, "no-handler")
    for name in ("nobody", "%00", "a b", "x" * 200):
        problem(program.get(f"/agents/{name}"), 404, "unknown-agent")


def test_health(program: ApiCaller) -> None:
    report = program.get("/health").json()
    assert report["status"] in ("ok", "degraded", "failing", "unhealthy", "failed")


def test_dead_letters_are_replayed_and_discarded_with_a_reason(lab: Lab) -> None:
    program = ApiCaller()
    workflow = broken_workflow(lab)
    letter = program.get("/dead-letters").json()["items"][0]
    path = f"/dead-letters/{letter['id']}"
    assert (letter["workflow"], letter["agent"], letter["status"]) == (str(workflow), "auditor", "open")
    assert "TerminalError" in program.get(path).json()["detail"]
    assert program.get(f"/dead-letters?agent=auditor&workflow={workflow}").json()["items"] == [letter]
    assert program.get(f"/dead-letters?workflow={uuid4()}").json()["items"] == []
    problem(program.post(f"/workflows/{workflow}/resume"), 409, "workflow-blocked")
    assert program.post(f"{path}/replay").json()["status"] == "replayed"
    problem(program.post(f"{path}/replay"), 409, "replay-error")
    lone = DeadLetter.objects.create(agent="auditor", reason="rejected", body=b"\xff")
    problem(program.post(f"/dead-letters/{lone.pk}/discard", {"reason": ""}), 422, "invalid-values")
    done = program.post(f"/dead-letters/{lone.pk}/discard", {"reason": "forged"}).json()
    assert (done["status"], done["resolution"], done["resolved_by"]) == ("discarded", "forged", "root (token program)")
    assert Workflow.objects.get(pk=workflow).status == "running"


def test_approvals_are_answered_once(program: ApiCaller) -> None:
    workflow = UUID(program.post("/workflows", START).json()["workflow"])
    ids = [
        Approval.objects.create(
            id=uuid4(), workflow_id=workflow, key=str(number), reply_to="auditor", purpose="approval", question="May I?"
        ).pk
        for number in range(3)
    ]
    first = program.get("/approvals?limit=2").json()
    rest = program.get(f"/approvals?limit=2&cursor={first['next']}").json()
    assert [UUID(item["id"]) for item in first["items"] + rest["items"]] == ids
    answered = program.post(f"/approvals/{ids[0]}/answer", {"approved": False, "text": "no"}).json()
    assert (answered["status"], answered["answer"], answered["answered_by"]) == (
        "rejected",
        "no",
        "root (token program)",
    )
    problem(program.post(f"/approvals/{ids[0]}/answer", {"approved": True}), 409, "approval-closed")
    assert program.post(f"/approvals/{ids[1]}/answer", {"approved": "yes"}).status_code == 422
    sent = program.get(f"/workflows/{workflow}/messages").json()["items"][-1]
    assert sent["data"] == {"key": "0", "approved": False, "text": "no", "by": "root (token program)"}


def test_a_teams_chat_is_started_and_forked(program: ApiCaller) -> None:
    bus = ReliableCommunicationBus()
    bus.register_agent("ann")
    definition = {"name": "pair", "members": ["ann", "auditor"]}
    Team.objects.create(name="pair", definition=json.dumps(definition))
    chat = ""
    for team in ("pair", definition):
        started = program.post("/workflows", {"name": "talk", "team": team, "task": "Say hello."})
        assert started.status_code == 201, started.content
        chat = started.json()["workflow"]
    assert program.get(f"/workflows/{chat}").json()["chat"]["team"] == "pair"
    problem(program.post(f"/workflows/{chat}/fork", {"after": 1}), 409, "chat-error")
    ChatEntry.objects.create(session_id=UUID(chat), number=1, speaker="ann", kind="said", body="{}", snapshot="{}")
    receipts = [
        program.post(f"/workflows/{chat}/fork", {"after": 1, "say": "Again."}, Idempotency_Key="f").json()["workflow"]
        for _ in range(2)
    ]
    assert receipts[0] == receipts[1] != chat
    assert program.post(f"/workflows/{chat}/cancel", {"reason": "over"}).json()["chat"]["status"] == "cancelled"
    plain = program.post("/workflows", START).json()["workflow"]
    problem(program.post(f"/workflows/{plain}/fork", {"after": 1}), 404, "unknown-chat")


# --- waiting ---


@pytest.mark.django_db(transaction=True)
def test_waiting_for_a_reply(lab: Lab) -> None:
    program = ApiCaller()

    def reply(message: Any, context: HandlerContext) -> None:
        context.reply({"echo": message.data})

    lab.agent("echo", reply)
    receipt = program.post("/workflows", {"name": "w", "message": {**MESSAGE, "recipient": "echo"}}).json()
    path = f"/messages/{receipt['message']}"
    none_yet = program.get(f"{path}/reply?timeout=0.05")
    assert (none_yet.status_code, none_yet.content) == (204, b"")
    lab.publish()
    lab.work(1)
    answer = program.get(f"{path}/reply?timeout=5").json()
    assert (answer["sender"], answer["data"], answer["correlation_id"]) == ("echo", {"echo": "a"}, receipt["message"])
    assert program.get(path).json()["deliveries"] == [{"agent": "echo", "state": "processed", "attempts": 0}]
    assert program.get(f"{path}/reply?timeout=26").status_code == 422
    assert WAITING.taken() == 0


def test_events_begin_where_they_ended(program: ApiCaller) -> None:
    workflow = program.post("/workflows", START).json()["workflow"]
    program.post(f"/workflows/{workflow}/messages", MESSAGE)
    program.post(f"/workflows/{workflow}/cancel", {})
    whole = program.get(f"/workflows/{workflow}/events")
    assert whole["Content-Type"] == "text/event-stream"
    text = b"".join(whole.streaming_content).decode()
    assert [(name, number) for name, number, _ in events_of(text)] == [("message", 1), ("message", 2), ("end", 2)]
    assert events_of(text)[0][2]["data"] == "a"
    close(whole)
    rest = program.get(f"/workflows/{workflow}/events?after=0", Last_Event_ID="1")
    assert [number for _, number, _ in events_of(b"".join(rest.streaming_content).decode())] == [2, 2]
    close(rest)
    problem(program.get(f"/workflows/{workflow}/events", Last_Event_ID="x"), 422, "invalid-values")
    assert WAITING.taken() == 0


def test_streams_are_bounded(program: ApiCaller, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.NEXUS = {**settings.NEXUS, "API_STREAMS": 2}
    path = f"/workflows/{program.post('/workflows', START).json()['workflow']}/events"
    monkeypatch.setattr(streams, "HEARTBEAT", 0.0)
    monkeypatch.setattr(streams, "LOOK_EVERY", 0.01)
    first = program.get(path)
    problem(program.get(path), 503, "too-many-streams")  # one caller has half of the places
    other = ApiCaller("other").get(path)
    problem(ApiCaller("third").get(path), 503, "too-many-streams")
    chunks = iter(first.streaming_content)
    began = [next(chunks) for _ in range(3)]
    assert began[0] == b"retry: 2000\n\n"
    assert began[1].startswith(b"id: 1\n")
    assert began[2] == b": still here\n\n"
    settings.NEXUS = {**settings.NEXUS, "API_STREAM_SECONDS": 0.001}
    assert list(chunks)[-1] == b": come back\n\n"
    for response in (first, other):
        close(response)
        close(response)
    assert WAITING.taken() == 0


def test_a_stream_ends_when_its_token_is_revoked(program: ApiCaller, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"/workflows/{program.post('/workflows', START).json()['workflow']}/events"
    monkeypatch.setattr(streams, "HEARTBEAT", 0.0)
    response = program.get(path)
    program.token.revoked_at = program.token.created_at
    program.token.save()
    assert "come back" not in b"".join(response.streaming_content).decode()
    close(response)


@pytest.mark.django_db(transaction=True)
def test_events_under_asgi(program: ApiCaller) -> None:
    workflow = program.post("/workflows", START).json()["workflow"]
    path = f"/api/workflows/{workflow}/events"

    async def read() -> str:
        response: Any = await AsyncClient().get(path, headers={"Authorization": f"Bearer {program.secret}"})
        assert isinstance(response.asgi_request, ASGIRequest)
        chunks = []
        async for chunk in response:
            chunks.append(chunk.decode())
            if len(chunks) == 2:
                await sync_to_async(ReliableCommunicationBus().cancel_workflow)(UUID(workflow))
        await sync_to_async(response.close)()
        await sync_to_async(connections.close_all)()
        return "".join(chunks)

    text = asyncio.run(asyncio.wait_for(read(), timeout=20))
    assert [(name, number) for name, number, _ in events_of(text)] == [("message", 1), ("end", 1)]
    assert WAITING.taken() == 0


# --- the description ---


def test_the_page_needs_no_script(program: ApiCaller) -> None:
    page = program.client.get("/api/docs")
    text = page.content.decode()
    assert "<script" not in text
    assert "style=" not in text
    assert "/api/workflows" in text
    assert "'unsafe" not in page["Content-Security-Policy"]
    description = program.client.get("/api/openapi.json").json()
    assert description["openapi"].startswith("3.1")
