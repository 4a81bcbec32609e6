"""An assistant with the tools of an MCP server."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from agents.adapters.mcp import McpToolbox
from agents.api import AssistantAgent, ChatMessage, Completion, ScriptedClient, ToolRequest
from tests.support.paths import ROOT

TOOLBOX = McpToolbox(
    "shop",
    command=[sys.executable, "-S", str(ROOT / "tests" / "support" / "mcp_tools.py")],
    env={"SERVER_URL": os.environ.get("SERVER_URL", "")},
    allow=["counted"],
)


def think(messages: Sequence[ChatMessage]) -> Completion:
    """Calls the tool twice, then repeats what it was told."""
    told = [message.content for message in messages if message.role == "tool"]
    if len(told) == 2:
        return Completion(ChatMessage("assistant", " / ".join(told)))
    call = ToolRequest(str(len(told)), "shop_counted", f'{{"name": "{("first", "second")[len(told)]}"}}')
    return Completion(ChatMessage("assistant", tool_calls=(call,)))


AssistantAgent("librarian", ScriptedClient(think), toolboxes=[TOOLBOX]).register()
