"""The tools of a real MCP server, which is slow, fails, talks rubbish and dies."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agents.adapters.mcp import McpCallFailed, McpToolbox, McpUnavailable
from agents.api import AssistantAgent, ScriptedClient
from agents.llm.tools import ModelTool, ToolArgumentsError
from messaging.api import ConfigurationError
from tests.support.paths import ROOT

COMMAND = [sys.executable, "-S", str(ROOT / "tests" / "support" / "mcp_tools.py")]
Tools = dict[str, ModelTool]


def toolbox(**options: Any) -> McpToolbox:
    return McpToolbox("shop", **{"command": COMMAND, "allow": ["*"], **options})


def using(box: McpToolbox, work: Callable[[Tools], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with asyncio.timeout(60), box.open() as tools:
            return await work({tool.name: tool for tool in tools})

    return asyncio.run(run())


def test_calls_and_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    """One connection after the other: after a call that was lost the next one finds a new server."""
    monkeypatch.setenv("SECRET_KEY", "not for tools")
    box = toolbox(timeout=0.5, max_result_bytes=1_000)

    async def work(tools: Tools) -> None:
        assert await tools["shop_add"].call('{"first": 2, "second": 3}') == "5"
        with pytest.raises(McpCallFailed, match="the shelf is empty"):
            await tools["shop_failing"].call("")
        assert await tools["shop_rubbish"].call("{}") == "in spite of that"
        assert await tools["shop_picture"].call("{}") == "[image/png, 103 bytes, left out]"
        assert (await tools["shop_long"].call('{"characters": 5000}')).endswith("… (cut)")
        assert "SECRET_KEY" not in await tools["shop_secrets"].call("{}")
        with pytest.raises(McpCallFailed, match="invalid arguments"):
            await tools["shop_add"].call('{"first": "two"}')
        with pytest.raises(ToolArgumentsError):
            await tools["shop_add"].call("[1]")
        with pytest.raises(McpCallFailed, match="losed"):
            await tools["shop_dying"].call("{}")
        with pytest.raises(McpCallFailed, match=r"took longer than 0\.5 s"):
            await tools["shop_slow"].call("{}")
        assert await tools["shop_add"].call('{"first": 1, "second": 1}') == "2"

    using(box, work)


def test_only_what_is_allowed_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    async def names(tools: Tools) -> list[str]:
        assert tools["shop_add"].spec.description == "It is called add."
        assert tools["shop_add"].spec.parameters["required"] == ["first", "second"]
        return sorted(tools)

    assert using(toolbox(allow=["add", "slow", "gone"]), names) == ["shop_add", "shop_slow"]
    assert "has no tool gone" in caplog.text


@pytest.mark.parametrize(
    "options",
    [
        {"command": ["/nonexistent/server"]},
        {"command": [sys.executable, "-c", "print('hello')"]},
        {"command": [sys.executable, "-c", "import time; time.sleep(60)"]},
        {"command": None, "url": "http://127.0.0.1:9/mcp"},
    ],
)
def test_a_server_that_is_not_there(options: dict[str, Any]) -> None:
    async def nothing(tools: Tools) -> None:
        raise AssertionError(tools)

    with pytest.raises(McpUnavailable, match="does not say what tools it has"):
        using(toolbox(connect_timeout=0.5, **options), nothing)


def test_what_cannot_be_is_refused() -> None:
    for options in (
        {"command": None},
        {"url": "http://127.0.0.1"},
        {"command": "server"},
        {"allow": "*"},
        {"timeout": 0},
        {"max_result_bytes": 10**9},
    ):
        with pytest.raises(ConfigurationError, match="MCP server 'shop'"):
            toolbox(**options)
    with pytest.raises(ConfigurationError):
        McpToolbox("Not a name", command=COMMAND, allow=[])


def test_what_an_assistant_declares() -> None:
    for trusted in (False, True):
        spec = AssistantAgent("a", ScriptedClient(["hello"]), toolboxes=[toolbox(trusted=trusted)]).spec
        assert (spec.reads_untrusted, spec.changes_outside) == (not trusted, True)
    assert not AssistantAgent("a", ScriptedClient(["hello"])).spec.reads_untrusted
