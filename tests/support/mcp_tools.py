"""A small MCP server for tests, over standard input and output. Its tools are slow, fail, talk rubbish, or die."""

from __future__ import annotations

import asyncio
import os
import sys

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from tests.support.model_server import call_count, wait_gate

server = MCPServer("test tools", log_level="ERROR")
SERVER = os.environ.get("SERVER_URL", "")


@server.tool()
def add(first: int, second: int) -> int:
    """Add two numbers."""
    return first + second


@server.tool()
async def slow() -> str:
    await asyncio.sleep(60)
    return "late"


@server.tool()
def failing() -> str:
    raise ToolError("the shelf is empty")


@server.tool()
def rubbish() -> str:
    sys.__stdout__.write("this is no JSON\n{\n\x00\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]
    return "in spite of that"


@server.tool()
def dying() -> str:
    os._exit(3)


@server.tool()
def long(characters: int) -> str:
    return "x" * characters


@server.tool()
def secrets() -> list[str]:
    """The names of the variables that this process got."""
    return sorted(os.environ)


@server.tool()
def counted(name: str) -> str:
    """Counts the call where it can be seen, and waits there with the second one."""
    number = call_count(SERVER, name)
    if name == "second":
        wait_gate(SERVER, "tool")
    return f"{name} {number}"


if __name__ == "__main__":
    server.run()
