"""The MCP server as real processes, asked by the SDK's own client: with tokens, by HTTP, and as an operator."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from pytest_django.fixtures import Settings

from agents.models import Approval
from messaging.api import ReliableCommunicationBus
from messaging.directory import names as directory
from messaging.models import Message, Workflow
from messaging.testing.servers.nodes.ports import free_port
from messaging.testing.servers.processes import Supervised
from messaging.testing.servers.waiting import wait_until
from nexus_api.management.commands import nexus_mcp
from nexus_api.tokens import create_token, revoke_token
from tests.integration.agents.processes.site import MASTER_KEY
from tests.support.paths import ROOT
from tests.support.secret_scan import plant

SCOPES = ["workflows:start", "messages:send", "messages:read", "approvals:read"]


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """What a tool answered; ``{"error": …}`` when it refused."""
    result = await client.call_tool(tool, arguments)
    text = "".join(getattr(block, "text", "") for block in result.content)
    answer: dict[str, Any] = {"error": text} if result.is_error else json.loads(text)
    return answer


def program(environment: Mapping[str, str], *options: str) -> Client:
    """A client of a server that it starts."""
    arguments = [str(ROOT / "manage.py"), "nexus_mcp", *options]
    return Client(StdioServerParameters(command=sys.executable, args=arguments, env=dict(environment)))


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def as_operator(environment: Mapping[str, str], approval: UUID) -> dict[str, Any]:
    async with program(environment, "--operator", "--sender", "boss") as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        sent = await call(client, "send", recipient="echo", type="order.start", data={"n": 1}, name="by hand")
        await call(client, "send", recipient="echo", type="order.long", data="x" * 30_000, workflow=sent["workflow"])
        return {
            "tools": tools,
            "sent": sent,
            "read": await call(client, "read_transcript", workflow=sent["workflow"], limit=1),
            "long": await call(client, "read_transcript", workflow=sent["workflow"], after=1),
            "waiting": await call(client, "list_approvals"),
            "answered": await call(client, "answer_approval", approval=str(approval), approved=True, text="go"),
            "again": await call(client, "answer_approval", approval=str(approval), approved=False),
            "unknown": await call(client, "send", recipient="nobody", type="order.start"),
            "no uuid": await call(client, "read_transcript", workflow="1"),
        }


async def with_token(environment: Mapping[str, str], foreign: UUID, asked: Event, revoked: Event) -> dict[str, Any]:
    async with program(environment) as client:
        answers = {
            "asked": await call(client, "ask", recipient="echo", type="order.check", data=[1], key="k", timeout=30),
            "repeated": await call(client, "ask", recipient="echo", type="order.check", data=[1], key="k", timeout=30),
            "late": await call(client, "ask", recipient="echo", type="order.late", timeout=0.2),
            "for ever": await call(client, "ask", recipient="echo", type="order.late", timeout=1e9),
            "foreign": await call(client, "read_transcript", workflow=str(foreign)),
            "foreign send": await call(client, "send", recipient="echo", type="x", workflow=str(foreign)),
            "scope": await call(client, "answer_approval", approval=str(uuid4()), approved=True),
        }
        answers["waited"] = await call(client, "wait_for_reply", message=answers["asked"]["message"], timeout=30)
        asked.set()
        await asyncio.to_thread(revoked.wait, 30)
        return {**answers, "revoked": await call(client, "send", recipient="echo", type="order.start")}


async def by_http(url: str, secret: str) -> dict[str, Any]:
    """One request after the other brings its token: none, a wrong one, the right one."""
    answers: dict[str, Any] = {}
    for name, headers in {"none": {}, "wrong": {"Authorization": "Bearer nxs_no"}}.items():
        async with httpx2.AsyncClient() as http:
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
            accept = {"Accept": "application/json, text/event-stream"}
            answers[name] = (await http.post(url, json=body, headers={**accept, **headers})).status_code
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {secret}"}) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        return {**answers, "sent": await call(client, "send", recipient="echo", type="order.http")}


def test_what_callers_may_do(
    database_url: str, project_environment: dict[str, str], tmp_path: Path, settings: Settings
) -> None:
    settings.NEXUS = {"BROKER_URL": f"memory://{uuid4()}", "MASTER_KEY": MASTER_KEY}  # all of them sign
    directory.forget()
    bus = ReliableCommunicationBus()
    for name in ("echo", "shop", "boss"):
        bus.register_agent(name)
    foreign = bus.start_workflow("foreign")
    approval = Approval.objects.create(
        id=uuid4(), workflow_id=foreign, key="k", reply_to="echo", purpose="agent", question="May I?"
    )
    owner = User.objects.create_superuser("root")
    secret = plant("a token", create_token(name="shop", owner=owner, scopes=SCOPES, senders=["shop"])[1])
    environment = {**project_environment, "DATABASE_URL": database_url, "NEXUS_MASTER_KEY": MASTER_KEY}
    port, everything_asked, revoked = free_port(), Event(), Event()
    with (
        Supervised(
            [sys.executable, "manage.py", "nexus_mcp", "--http", str(port)],
            log_file=tmp_path / "mcp.log",
            environment=environment,
        ) as server,
        ThreadPoolExecutor(3) as threads,
    ):
        operator = threads.submit(asyncio.run, as_operator(environment, approval.pk))
        token = threads.submit(
            asyncio.run, with_token({**environment, "MCP_TOKEN": secret}, foreign, everything_asked, revoked)
        )
        wait_until(lambda: listens(port), 60, server.log)
        http = threads.submit(asyncio.run, by_http(f"http://127.0.0.1:{port}/mcp", secret)).result(60)
        asked = wait_until(lambda: Message.objects.filter(type="order.check").first(), 60, "the question")
        assert asked is not None
        bus.send(asked.workflow_id, "shop", "order.checked", "fine", sender="echo", correlation_id=asked.pk)
        assert everything_asked.wait(60)
        wait_until(lambda: operator.done(), 60, "the operator")
        revoke_token("shop")
        revoked.set()
        check_operator(operator.result(60), approval)
        check_token(token.result(60), asked)
    assert (http["none"], http["wrong"]) == (401, 401)
    assert Message.objects.get(pk=http["sent"]["message"]).source == "shop"


def check_operator(answers: dict[str, Any], approval: Approval) -> None:
    assert answers["tools"] == {
        "send", "ask", "wait_for_reply", "read_transcript", "list_approvals", "answer_approval"
    }  # fmt: skip
    assert Message.objects.get(pk=answers["sent"]["message"]).source == "boss"
    assert Workflow.objects.get(pk=answers["sent"]["workflow"]).name == "by hand"
    (shown,) = answers["read"]["messages"]
    assert (shown["sequence"], shown["data"], answers["read"]["next"]) == (1, {"n": 1}, 1)
    (shown,) = answers["long"]["messages"]
    assert (shown["data"], answers["long"]["next"]) == (None, None)
    assert "have 30006 bytes" in shown["left_out"]
    assert [row["id"] for row in answers["waiting"]["approvals"]] == [str(approval.pk)]
    assert (answers["answered"]["status"], answers["answered"]["answer"]) == ("approved", "go")
    assert answers["answered"]["answered_by"].endswith("(shell)")
    assert "error" in answers["again"]
    assert "No agent or group is named 'nobody'" in answers["unknown"]["error"]
    assert "valid UUID" in answers["no uuid"]["error"]


def check_token(answers: dict[str, Any], asked: Message) -> None:
    assert asked.source == "shop"
    assert (answers["asked"]["answered"], answers["asked"]["reply"]["data"]) == (True, "fine")
    assert answers["repeated"] == answers["waited"] | {"workflow": str(asked.workflow_id)} == answers["asked"]
    assert (answers["late"]["answered"], answers["late"]["reply"]) == (False, None)
    assert "at most 300 seconds" in answers["for ever"]["error"]
    for name in ("foreign", "foreign send"):
        assert "There is no workflow" in answers[name]["error"]
    assert "lacks the scope approvals:answer" in answers["scope"]["error"]
    assert "does not hold" in answers["revoked"]["error"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("secret", "options", "problem"),
    [
        ("", {}, "Give a token"),
        ("nxs_x", {"operator": True}, "not both"),
        ("nxs_x", {}, "does not hold"),
        ("nxs_x", {"http": "8000"}, "each request brings its own token"),
        ("", {"http": "8000", "operator": True}, "each request brings its own token"),
        ("", {"http": "port"}, "expected a port"),
    ],
)
def test_there_is_no_third_way(
    secret: str, options: dict[str, Any], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(nexus_mcp.TOKEN, secret)
    with pytest.raises(CommandError, match=problem):
        call_command("nexus_mcp", **options)


@pytest.mark.django_db
def test_a_token_speaks_as_its_agents_only(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = User.objects.create_superuser("root")
    monkeypatch.setenv(nexus_mcp.TOKEN, create_token(name="t", owner=owner, scopes=SCOPES, senders=["shop"])[1])
    with pytest.raises(CommandError, match="You may speak as shop, nobody else"):
        call_command("nexus_mcp", sender="boss")
