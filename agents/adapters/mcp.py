"""Tools of MCP servers for assistants, through the official SDK (the extra ``mcp``).

    files = McpToolbox("files", command=["mcp-server-files", "/srv/docs"], allow=["read_file", "search"])
    AssistantAgent("librarian", client, toolboxes=[files]).register()

A server is listed now and then and called when the model calls one of its tools; the call goes through the ledger, so
one that was answered is never made again. Nothing that a server says is trusted unless it is said to be.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from time import monotonic
from typing import Any

import httpx2
import msgspec
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult
from mcp.types import Tool as ListedTool

from agents.llm.ledger import MAX_RESULT_BYTES
from agents.llm.tools import ModelTool, ToolArgumentsError
from agents.llm.types import ToolSpec
from messaging.api import ConfigurationError, LabelError, Labels, TransientError
from messaging.extension import cut_text, json_size, storable, summarize_error

logger = logging.getLogger("nexus.agent")

MAX_TOOLS = 128
MAX_PAGES = 20
"""Of a listing: one that never ends cannot hang a turn."""
MAX_DESCRIPTION = 4_000
"""Bytes of JSON."""
MAX_SCHEMA = 32_000
"""Bytes of JSON of one tool's parameters; a tool with more is left out."""
CLOSE_TIMEOUT = 5.0
LISTED_FOR = 300.0
"""Seconds for which a process remembers what tools a server has."""

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")


class McpUnavailable(TransientError):
    """An MCP server could not be reached or does not say what tools it has; the message is tried again later."""


class McpCallFailed(Exception):
    """A call that the server could not answer, or answered with an error. The model is told."""


class McpToolbox:
    """The tools of one MCP server.

    Args:
        name: of lower-case letters, digits and ``-``; the model sees ``<name>_<tool>``.
        command: starts a server that talks over its standard input and output; it gets ``env`` and a few harmless
            variables, nothing else of the worker's environment.
        url: of a server that is reached by streamable HTTP, instead of a command.
        allow: names of the tools that the model may call, as the server calls them; ``["*"]`` for whatever it has.
        repeatable: those of them that may be called again when a crash interrupted a call.
        env: variables of the command.
        cwd: its folder.
        headers: of the HTTP requests, such as ``{"Authorization": …}``.
        timeout: seconds that a call may take.
        connect_timeout: seconds until the server must have said what it can.
        max_result_bytes: of a result, as JSON; what is longer is cut.
        trusted: what it says and does is as trusted as your own code: no label.
        changes_outside: its tools may change something outside; False for those that only read.

    Raises:
        ConfigurationError: these cannot be.
    """

    def __init__(
        self,
        name: str,
        *,
        command: Sequence[str] | None = None,
        url: str | None = None,
        allow: Sequence[str],
        repeatable: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
        connect_timeout: float = 15.0,
        max_result_bytes: int = MAX_RESULT_BYTES,
        trusted: bool = False,
        changes_outside: bool = True,
    ) -> None:
        self.name = name
        try:
            self.labels = Labels() if trusted else Labels.of(origins=[f"mcp-{name}"])
        except LabelError as error:
            raise ConfigurationError(f"MCP server {name!r}: {error}") from None
        if (command is None) == (url is None) or isinstance(command, str) or command == []:
            raise ConfigurationError(f"MCP server {name!r}: give a command, as a list, or a url.")
        if isinstance(allow, str) or isinstance(repeatable, str):
            raise ConfigurationError(f"MCP server {name!r}: allow and repeatable are lists of names.")
        if not (timeout > 0 and connect_timeout > 0 and 100 <= max_result_bytes <= MAX_RESULT_BYTES):
            raise ConfigurationError(
                f"MCP server {name!r}: timeouts are above 0, max_result_bytes from 100 to {MAX_RESULT_BYTES}."
            )
        self.changes_outside = changes_outside
        self.timeout = timeout
        self.connect_timeout = connect_timeout
        self.max_result_bytes = max_result_bytes
        self._command = list(command or ())
        self._url = url
        self._allow = frozenset(allow)
        self._repeatable = frozenset(repeatable)
        self._env = dict(env or {})
        self._cwd = cwd
        self._headers = dict(headers or {})
        self._listed: tuple[float, list[ListedTool]] | None = None

    def __repr__(self) -> str:
        return f"McpToolbox({self.name!r})"

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Sequence[ModelTool]]:
        """Its tools, for one turn; the server runs, or is connected, from the first call to the turn's end.

        Raises:
            McpUnavailable: it is not there, or does not say what tools it has.
        """
        session = _Session(self)
        try:
            if self._listed is None or monotonic() - self._listed[0] > LISTED_FOR:
                self._listed = (monotonic(), self._allowed(await session.list_tools()))
            yield [_McpTool(self, session, tool, tool.name in self._repeatable) for tool in self._listed[1]]
        finally:
            await session.close()

    def model_name(self, tool: str) -> str:
        """What the model calls a tool of the server."""
        return _NOT_IN_NAMES.sub("_", f"{self.name}_{tool}")

    def _allowed(self, listed: Sequence[ListedTool]) -> list[ListedTool]:
        """Those that the model may see, each name once."""
        chosen: dict[str, ListedTool] = {}
        for tool in listed:
            if tool.name not in self._allow and "*" not in self._allow:
                continue
            shown = self.model_name(tool.name)
            if len(shown) > 64 or shown in chosen or len(chosen) >= MAX_TOOLS:
                problem = "its name is too long, or taken, or the server has too many"
            elif len(msgspec.json.encode(tool.input_schema)) > MAX_SCHEMA:
                problem = f"the schema of its parameters has more than {MAX_SCHEMA} bytes"
            else:
                chosen[shown] = tool
                continue
            logger.warning("MCP server %s: the tool %r is left out: %s.", self.name, tool.name[:100], problem)
        missing = self._allow - {"*"} - {tool.name for tool in listed}
        if missing:
            logger.warning("MCP server %s has no tool %s.", self.name, ", ".join(sorted(missing)))
        return list(chosen.values())

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Client]:
        """A client of the server, which may ask nothing of us: neither the model, nor a person, nor files."""
        async with self._transport() as transport, Client(transport, cache=None) as client:
            yield client

    @asynccontextmanager
    async def _transport(self) -> AsyncIterator[AbstractAsyncContextManager[Any]]:
        if self._url is None:
            program, *arguments = self._command
            parameters = StdioServerParameters(command=program, args=arguments, env=self._env, cwd=self._cwd)
            yield stdio_client(parameters, errlog=sys.__stderr__ or sys.stderr)
            return
        async with httpx2.AsyncClient(headers=self._headers, timeout=self.timeout + 1) as http:
            yield streamable_http_client(self._url, http_client=http)


class _Session:
    """A connection that is made when it is needed, and made anew after a failure.

    It lives in a task of its own: the SDK wants it closed by the task that opened it, whatever happens meanwhile.
    """

    def __init__(self, toolbox: McpToolbox) -> None:
        self._toolbox = toolbox
        self._task: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()

    async def _client(self) -> Client:
        if self._task is not None and not self._task.done():
            return self._ready.result()
        self._ending = asyncio.Event()
        self._ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._serve(self._ready, self._ending))
        await asyncio.wait({self._task, self._ready}, return_when=asyncio.FIRST_COMPLETED)  # type: ignore[type-var]
        if not self._ready.done():
            self._task.result()
            raise McpCallFailed("the connection ended at once")
        return self._ready.result()

    async def _serve(self, ready: asyncio.Future[Client], ending: asyncio.Event) -> None:
        async with self._toolbox.connect() as client:
            ready.set_result(client)
            await ending.wait()

    async def list_tools(self) -> list[ListedTool]:
        found: list[ListedTool] = []
        try:
            async with asyncio.timeout(self._toolbox.connect_timeout):
                client = await self._client()
                cursor: str | None = None
                for _ in range(MAX_PAGES):
                    page = await client.list_tools(cursor=cursor)
                    found += page.tools
                    cursor = page.next_cursor
                    if cursor is None:
                        break
        except Exception as error:
            raise McpUnavailable(
                f"The MCP server {self._toolbox.name} does not say what tools it has: {_why(error)}. Is it installed, "
                "and does it answer?"
            ) from error
        return found

    async def call(self, tool: str, arguments: dict[str, Any]) -> CallToolResult:
        """Call a tool; after a failure the connection is given up, and a server that was started ends."""
        limits = self._toolbox
        try:
            async with asyncio.timeout(limits.connect_timeout):
                client = await self._client()
            async with asyncio.timeout(limits.timeout):
                return await client.call_tool(tool, arguments)
        except TimeoutError:
            await self.close()
            raise McpCallFailed(f"it took longer than {limits.timeout:g} s, and nobody knows what it did") from None
        except Exception as error:
            await self.close()
            raise McpCallFailed(_why(error)) from error

    async def close(self) -> None:
        """End the connection, within a few seconds, whatever state it is in."""
        task, self._task = self._task, None
        if task is None:
            return
        self._ending.set()
        if not self._ready.done() or (await asyncio.wait({task}, timeout=CLOSE_TIMEOUT))[1]:
            task.cancel()
            await asyncio.wait({task}, timeout=CLOSE_TIMEOUT)
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            logger.info("MCP server %s: the connection ended with %s.", self._toolbox.name, _why(error))


class _McpTool:
    """A tool of a server, as a turn takes it."""

    def __init__(self, toolbox: McpToolbox, session: _Session, listed: ListedTool, repeatable: bool) -> None:
        self.name = toolbox.model_name(listed.name)
        self.repeatable = repeatable
        self.spec = ToolSpec(
            self.name, cut_text(storable(listed.description or ""), MAX_DESCRIPTION), dict(listed.input_schema)
        )
        self._toolbox = toolbox
        self._session = session
        self._listed = listed

    async def call(self, arguments: str) -> str:
        """Have the server do it.

        Raises:
            ToolArgumentsError: the arguments are no JSON object.
            McpCallFailed: it failed, took too long, or said so.
        """
        try:
            read = msgspec.json.decode(arguments or "{}", type=dict[str, Any])
        except (msgspec.MsgspecError, ValueError) as error:
            raise ToolArgumentsError(f"The arguments of {self.name} do not fit: {error}.") from None
        result = await self._session.call(self._listed.name, read)
        text = cut_text(storable(_text_of(result)), self._toolbox.max_result_bytes)
        if result.is_error:
            raise McpCallFailed(text)
        return text


def _text_of(result: CallToolResult) -> str:
    """What a model can read of a result; of other content, what it is."""
    parts = []
    for block in result.content:
        if block.type == "text":
            parts.append(block.text)
        elif block.type == "resource" and hasattr(block.resource, "text"):
            parts.append(block.resource.text)
        else:
            kind = getattr(block, "mime_type", None) or block.type
            parts.append(f"[{kind}, {json_size(block.model_dump_json())} bytes, left out]")
    if not parts and result.structured_content is not None:
        parts.append(msgspec.json.encode(result.structured_content).decode())
    return "\n".join(parts)


def _why(error: BaseException) -> str:
    """The first cause in a group: the SDK's tasks fail together."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return "it took too long" if isinstance(error, TimeoutError) else summarize_error(error)
